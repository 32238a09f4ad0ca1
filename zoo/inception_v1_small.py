"""Four Inception modules for images of 32x32 pixels, in both of the module's forms, to compare what they cost.

    conv1 3x3            64@32x32, pooled to 16x16
    inception_3a, 3b     pooled to 8x8
    inception_4a, 4e     averaged over all positions

with half the filters that table 1 of Szegedy et al. 2014 gives these modules.
"""

from typing import Any

import keras
from keras import layers

from zoo.building import SCORES, class_scores, dropped, pool, require_size
from zoo.inception import CITATION, FILTERS, Module, convolution, inception_module, scaled
from zoo.registry import register_model
from zoo.spec import Paper

STAGES = (("3a", "3b"), ("4a", "4e"))


def inception_v1_small(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: int = 64,
    width: float = 0.5,
    module: Module = "reduced",
    pooling: str = "max",
    dropout: float = 0.4,
    initialization: str = "he_normal",
) -> keras.Model:
    """A convolution, then Inception modules at two resolutions, then the average over all positions.

    Args:
        filters: of the first convolution.
        width: factor for the filters of table 1.
        module: 'reduced' (figure 2b) or 'naive' (figure 2a).
        pooling: kind of all poolings but the last.
        dropout: fraction of the inputs of the scores that training drops.
        initialization: name of a Keras initialiser.

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns logits float32
    [batch, classes]. Raises ZooError for a bad argument.
    """
    require_size(name, input_shape, 4)  # what two poolings can halve
    modules: dict[str, Any] = {"module": module, "pooling": pooling, "initialization": initialization}
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = convolution(x, filters, 3, "conv1", initialization)
    for number, stages in enumerate(STAGES, start=1):
        x = pool(x, pooling, 3, 2, padding="same", name=f"pool{number}")
        for stage in stages:
            x = inception_module(x, scaled(width, *FILTERS[stage]), name=f"inception_{stage}", **modules)
    x = layers.GlobalAveragePooling2D(name="pool3")(x)
    x = dropped(x, dropout, "dropout")
    return keras.Model(image, class_scores(x, classes, kernel_initializer=initialization), name=name)


register_model(
    "inception_v1_small",
    paper=Paper(CITATION, "figure 2 and four rows of table 1"),
    input_shape=(32, 32, 3),
    classes=10,
    layer_parameters={
        "conv1": 1_792,
        "inception_3a": 37_688,
        "inception_3b": 97_344,
        "inception_4a": 94_200,
        "inception_4e": 215_040,
        "scores": 4_170,
    },
    divergences=(
        "Made for 32x32 pixels: one 3x3 convolution in place of the paper's three, four of its nine modules, half the "
        "filters.",
        "It has no auxiliary heads and no local response normalisation.",
        "Pixels are scaled to −1…1 and weights start as he_normal draws them.",
        SCORES,
    ),
    small={"filters": 8, "width": 1 / 4},
)(inception_v1_small)
