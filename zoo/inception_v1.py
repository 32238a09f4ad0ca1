"""Inception v1, GoogLeNet (Szegedy et al. 2014).

inception_v1            output    parameters, biases included
conv1  7x7/2        64@112x112         9,472
conv2  1x1, 3x3      192@56x56       114,944
inception_3a, 3b     480@28x28       552,432
inception_4a … 4e    832@14x14     2,812,720
inception_5a, 5b      1024@7x7     2,487,984
scores                    1000     1,025,000
                                   6,998,552, with both auxiliary heads 13,378,280
"""

from typing import Any, Literal

import keras
from keras import layers

from zoo.building import SCORES, class_scores, dropped, pool, require_size
from zoo.inception import CITATION, FILTERS, Module, convolution, inception_module, scaled
from zoo.layers import LocalResponseNormalization
from zoo.registry import register_model
from zoo.spec import Paper

POOLED_AFTER = ("3b", "4e")
AUXILIARY = ("4a", "4d")
_PRINTED = {
    "conv1": ("2.7K", "34M"),
    "conv2": ("112K", "360M"),
    "inception_3a": ("159K", "128M"),
    "inception_3b": ("380K", "304M"),
    "inception_4a": ("364K", "73M"),
    "inception_4b": ("437K", "88M"),
    "inception_4c": ("463K", "100M"),
    "inception_4d": ("580K", "119M"),
    "inception_4e": ("840K", "170M"),
    "inception_5a": ("1072K", "54M"),
    "inception_5b": ("1388K", "71M"),
    "scores": ("1000K", "1M"),
}
"""Table 1's columns 'params' and 'ops'."""


def inception_v1(
    *,
    name: str,
    form: Literal["training", "serving"],
    input_shape: tuple[int, ...],
    classes: int,
    width: float = 1.0,
    module: Module = "reduced",
    pooling: str = "max",
    dropout: float = 0.4,
    auxiliary_units: int = 1024,
    auxiliary_dropout: float = 0.7,
    initialization: str = "glorot_uniform",
) -> keras.Model:
    """GoogLeNet, 22 layers with parameters deep.

    Args:
        form: 'training' has three outputs, the scores and those of the auxiliary heads on 4a and 4d; 'serving' has one.
        width: factor for the filters of every convolution.
        module: 'reduced' (the paper's) or 'naive'.
        pooling: kind of all poolings but the last.
        dropout: fraction of the inputs of the scores that training drops.
        auxiliary_units: of each auxiliary head's dense layer.
        auxiliary_dropout: fraction of that layer that training drops.
        initialization: name of a Keras initialiser.

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns logits float32
    [batch, classes], or a list of three of them, the main ones first. Raises ZooError for a bad argument.
    """
    require_size(name, input_shape, 65)  # a side that leaves 5 positions for the auxiliary heads' average pooling
    start = {"kernel_initializer": initialization}
    modules: dict[str, Any] = {"module": module, "pooling": pooling, "initialization": initialization}

    def auxiliary(x: Any, stage: str) -> Any:
        head = f"auxiliary_{stage}"
        x = layers.AveragePooling2D(5, strides=3, name=f"{head}_pool")(x)
        x = convolution(x, scaled(width, 128)[0], 1, f"{head}_conv", initialization)
        x = layers.Flatten(name=f"{head}_flatten")(x)
        x = layers.Dense(auxiliary_units, activation="relu", name=f"{head}_fc", **start)(x)
        return class_scores(dropped(x, auxiliary_dropout, f"{head}_dropout"), classes, f"{head}_scores", **start)

    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    narrow, wide = scaled(width, 64, 192)
    x = convolution(x, narrow, 7, "conv1", initialization, strides=2)
    x = pool(x, pooling, 3, 2, padding="same", name="pool1")
    x = LocalResponseNormalization(name="norm1")(x)
    x = convolution(convolution(x, narrow, 1, "conv2_reduce", initialization), wide, 3, "conv2", initialization)
    x = LocalResponseNormalization(name="norm2")(x)
    x = pool(x, pooling, 3, 2, padding="same", name="pool2")
    heads = []
    for stage, filters in FILTERS.items():
        x = inception_module(x, scaled(width, *filters), name=f"inception_{stage}", **modules)
        if stage in AUXILIARY and form == "training":
            heads.append(auxiliary(x, stage))
        if stage in POOLED_AFTER:
            x = pool(x, pooling, 3, 2, padding="same", name=f"pool{stage[0]}")
    x = layers.GlobalAveragePooling2D(name="pool5")(x)
    scores = class_scores(dropped(x, dropout, "dropout"), classes, **start)
    return keras.Model(image, [scores, *heads] if heads else scores, name=name)


register_model(
    "inception_v1",
    paper=Paper(
        CITATION,
        "sections 5 and 7, table 1, figures 2 and 3",
        parameters=6_998_552,
        training_parameters=13_378_280,
        reports=(
            "ILSVRC-2014, top-5 error: 10.07 % of one network and one crop (validation), 6.67 % of seven, 144 crops.",
            "The loss of each auxiliary head counts 0.3 beside that of the scores.",
        ),
        table={stage: {"parameters": printed[0], "operations": printed[1]} for stage, printed in _PRINTED.items()}
        | {"total": {"operations": "1.5 billion"}},
    ),
    input_shape=(224, 224, 3),
    classes=1000,
    layer_parameters={
        "conv1": 9_472,
        "conv2": 114_944,
        "inception_3a": 163_696,
        "inception_3b": 388_736,
        "inception_4a": 376_176,
        "inception_4b": 449_160,
        "inception_4c": 510_104,
        "inception_4d": 605_376,
        "inception_4e": 868_352,
        "inception_5a": 1_043_456,
        "inception_5b": 1_444_080,
        "scores": 1_025_000,
    },
    divergences=(
        "Counts follow from table 1's filters and include biases; its own column 'params', in units of 1,024, is up to "
        "2 % lower or higher, except for conv1, 4c and 5a.",
        "For 4c table 1 prints 463K parameters; its filters give 498K.",
        "For conv1 table 1 prints 2.7K parameters and 34M operations; 64 kernels of 7x7x3 have 9,472 and need 118M.",
        "With these 118M in place of 34M it takes 1.59 billion multiplications; the paper prints 1.5 billion.",
        "For 5a table 1 prints 1072K parameters and 54M operations; its filters give 1,019K and 51M.",
        "Local response normalisation has AlexNet's constants; the paper gives none.",
        "Pixels are scaled to −1…1; the paper subtracts a mean.",
        "Weights start as glorot_uniform draws them and biases at 0; the paper does not say how its did.",
        "The paper claims 12 times fewer parameters than AlexNet's; its table's filters give 8.7 times fewer.",
        SCORES,
    ),
    small={"input_shape": (65, 65, 3), "classes": 10, "width": 1 / 4, "auxiliary_units": 32},
    auxiliary_weight=0.3,
)(inception_v1)
