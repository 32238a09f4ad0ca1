"""LeNet-5 (LeCun et al. 1998).

lenet5          output      parameters   connections
c1  conv 5x5    6@28x28            156       122,304
s2  subsample   6@14x14             12         5,880
c3  conv 5x5   16@10x10          1,516       151,600   partly connected, table I
s4  subsample  16@5x5               32         2,000
c5  conv 5x5  120@1x1           48,120        48,120
f6  dense      84               10,164        10,164
output  RBF    10                (840 fixed)     840
                                60,000       340,908
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from zoo.building import dropped, pool, require_count, require_size, smallest_side
from zoo.layers import (
    EuclideanRBF,
    FanInUniform,
    PartiallyConnectedConv2D,
    ScaledTanh,
    TrainableSubsampling2D,
    digit_codes,
)
from zoo.registry import register_model
from zoo.spec import Paper

C3_TABLE = (
    *("012", "123", "234", "345", "045", "015", "0123", "1234"),
    *("2345", "0345", "0145", "0125", "0134", "1245", "0235", "012345"),
)
"""Table I: the maps of S2 that each map of C3 sees."""
PAPER = Paper(
    citation="LeCun, Y., Bottou, L., Bengio, Y., Haffner, P. Gradient-Based Learning Applied to Document Recognition. "
    "Proceedings of the IEEE 86(11), 1998",
    section="II.B with figures 2 and 3 and table I, III.C, appendix A",
    parameters=60_000,
    connections=340_908,
    test_accuracy=99.05,
    table={
        "c1": {"parameters": "156", "connections": "122,304"},
        "s2": {"parameters": "12", "connections": "5,880"},
        "c3": {"parameters": "1,516", "connections": "151,600"},
        "s4": {"parameters": "32", "connections": "2,000"},
        "c5": {"connections": "48,120"},
        "f6": {"parameters": "10,164"},
        "total": {"parameters": "60,000", "connections": "340,908"},
    },
    reports=("0.95 % error on MNIST's test set, 0.8 % when the training set has distorted digits as well.",),
)


def lenet5(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: Sequence[int] = (6, 16, 120),
    dense_units: int = 84,
    pooling: str = "subsampling",
    dropout: float = 0.0,
    initialization: str = "paper",
) -> keras.Model:
    """The network of 1998 with its squashing function, subsampling, connection table and RBF output.

    Args:
        filters: maps of C1, C3 and C5. C3 follows table I where C1 has 6 maps and C3 16; else it sees every map.
        dense_units: of F6. With 84 of them and 10 classes the codes are the digits drawn on 7x12 pixels, else ±1 drawn
            at random once and for all, the alternative that the paper discusses in section II.B.
        pooling: 'subsampling' (trained, the paper's) or a pooling kind of the other networks.
        dropout: fraction of F6's inputs that training drops.
        initialization: 'paper' (uniform up to 2.4 / fan-in, appendix A) or the name of a Keras initialiser.

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns float32
    [batch, classes], the negative squared distances to the classes' codes. Raises ZooError for a bad argument.
    """
    require_size(name, input_shape, smallest_side([(5, 1), (2, 2), (5, 1), (2, 2), (5, 1)]) - 4)
    require_count(name, "filters", filters, 3)
    c1, c3, c5 = filters
    table = C3_TABLE if (c1, c3) == (6, 16) else [range(c1)] * c3
    pairs = [[int(i) for i in row] for row in table]

    def squashed() -> dict[str, Any]:
        start = FanInUniform() if initialization == "paper" else initialization
        return {"activation": ScaledTanh(), "kernel_initializer": start}

    def subsample(x: Any, layer: str) -> Any:
        if pooling == "subsampling":
            return TrainableSubsampling2D(activation=ScaledTanh(), name=layer)(x)
        return pool(x, pooling, 2, name=layer)

    image = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(2, name="pad")(image)  # 28x28 digits in 32x32, so that strokes reach a kernel's middle
    x = layers.Rescaling(1.275 / 255, offset=-0.1, name="scale")(x)  # background −0.1, foreground 1.175
    x = layers.Conv2D(c1, 5, name="c1", **squashed())(x)
    x = subsample(x, "s2")
    x = PartiallyConnectedConv2D(pairs, 5, name="c3", **squashed())(x)
    x = subsample(x, "s4")
    x = layers.Conv2D(c5, 5, name="c5", **squashed())(x)
    x = dropped(layers.Flatten(name="flatten")(x), dropout, "dropout")
    x = layers.Dense(dense_units, name="f6", **squashed())(x)
    # Distances of 84 squares, and what the loss takes, stay float32 under mixed precision.
    distances = EuclideanRBF(_codes(classes, dense_units), dtype="float32", name="output")(x)
    return keras.Model(image, layers.Rescaling(-1.0, dtype="float32", name="scores")(distances), name=name)


def _codes(classes: int, features: int) -> np.ndarray:
    if (classes, features) == (10, 84):
        return digit_codes()
    return np.random.Generator(np.random.PCG64(1998)).choice([-1.0, 1.0], (classes, features))


register_model(
    "lenet5",
    paper=PAPER,
    input_shape=(28, 28, 1),
    classes=10,
    layer_parameters={"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164},
    layer_connections={
        "c1": 122_304,
        "s2": 5_880,
        "c3": 151_600,
        "s4": 2_000,
        "c5": 48_120,
        "f6": 10_164,
        "output": 840,
    },
    divergences=(
        "The images of 28x28 pixels are padded to 32x32 inside the network; the paper's data come so.",
        "Scores are the negative distances, so that the largest marks the class; in the paper the smallest does.",
        "Subsampling starts as plain averaging, and all biases at 0; the paper draws all weights alike.",
        "The codes of the RBF units stay fixed; the paper fixes them 'at least initially'.",
    ),
)(lenet5)
