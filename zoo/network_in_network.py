"""Network in Network (Lin et al. 2013): small perceptrons slid over the image, and no dense layer at all.

network_in_network             output       parameters
mlpconv1  5x5, 1x1, 1x1      96@32x32           60,928   filters 192, 160, 96
mlpconv2  5x5, 1x1, 1x1     192@16x16          535,104   filters 192, 192, 192
mlpconv3  3x3, 1x1, 1x1        10@8x8          370,954   filters 192, 192 and one for each class
                                               966,986
"""

from collections.abc import Sequence

import keras
from keras import layers

from zoo.building import SCORES, dropped, pool, require_size
from zoo.layers import MLPConv2D
from zoo.registry import register_model
from zoo.spec import Paper, ZooError


def network_in_network(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192)),
    kernel_sizes: Sequence[int] = (5, 5, 3),
    pooling: str = "max",
    dropout: float = 0.5,
    initialization: str = "he_normal",
) -> keras.Model:
    """Mlpconv layers with pooling between them; the average of each of the last one's maps is a class's score.

    Args:
        filters: of each mlpconv's convolutions; the last mlpconv gets one for each class besides.
        kernel_sizes: side of the first kernels of each mlpconv, in pixels.
        pooling: kind of the 3x3 poolings with stride 2 after every mlpconv but the last.
        dropout: fraction of what follows these poolings that training drops.
        initialization: name of a Keras initialiser.

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns logits float32
    [batch, classes]. Raises ZooError for a bad argument.
    """
    last = len(filters)
    if not last or last != len(kernel_sizes):
        raise ZooError(f"{name} has {last} filters and {len(kernel_sizes)} kernel_sizes; expected as many, 1 or more.")
    require_size(name, input_shape, 2 ** (last - 1))  # what the poolings can halve
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    for number, (counts, kernel_size) in enumerate(zip(filters, kernel_sizes, strict=True), start=1):
        counts = (*counts, classes) if number == last else counts
        x = MLPConv2D(counts, kernel_size, kernel_initializer=initialization, name=f"mlpconv{number}")(x)
        if number < last:
            x = pool(x, pooling, 3, 2, padding="same", name=f"pool{number}")
            x = dropped(x, dropout, f"dropout{number}")
    # Scores stay float32 under mixed precision, as the loss needs them.
    scores = layers.GlobalAveragePooling2D(dtype="float32", name="scores")(x)
    return keras.Model(image, scores, name=name)


register_model(
    "network_in_network",
    paper=Paper(
        "Lin, M., Chen, Q., Yan, S. Network In Network. ICLR 2014 (arXiv:1312.4400, 2013)",
        "sections 3 and 4.2",
        parameters=966_986,
        reports=("CIFAR-10: 10.41 % test error, 8.81 % with augmentation.",),
    ),
    input_shape=(32, 32, 3),
    classes=10,
    layer_parameters={"mlpconv1": 60_928, "mlpconv2": 535_104, "mlpconv3": 370_954},
    divergences=(
        "The paper prints no layer sizes; these are the usual ones for CIFAR-10, 192-160-96 and on.",
        "Pixels are scaled to −1…1; the paper contrast-normalises and whitens CIFAR-10.",
        "Weights start as he_normal draws them; the paper sets them by hand without saying how.",
        SCORES,
    ),
    small={"filters": ((8, 8, 8), (8, 8, 8), (8, 8))},
)(network_in_network)
