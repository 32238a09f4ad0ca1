"""AlexNet (Krizhevsky et al. 2012) in its two towers.

alexnet              output       parameters
conv1  11x11/4     96@55x55          34,944   ReLU, then normalised, then pooled
conv2  5x5        256@27x27         307,456   two towers; normalised and pooled too
conv3  3x3        384@13x13         885,120
conv4  3x3        384@13x13         663,936   two towers
conv5  3x3        256@13x13         442,624   two towers; pooled
fc6              4096            37,752,832   dropout 0.5
fc7              4096            16,781,312   dropout 0.5
scores           1000             4,097,000
                                 60,965,224
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from zoo.building import SCORES, class_scores, dropped, pool, require_count, require_size, smallest_side
from zoo.layers import LocalResponseNormalization, TowerConv2D
from zoo.registry import register_model
from zoo.spec import Paper

CITATION = "Krizhevsky, A. et al. ImageNet Classification with Deep Convolutional Neural Networks. NIPS 2012"
PRINTED_NEURONS = {"conv1": "253,440", "conv2": "186,624", "conv3": "64,896", "conv4": "64,896", "conv5": "43,264"}
PRINTED_NEURONS |= {"fc6": "4096", "fc7": "4096", "scores": "1000"}
IMAGENET_MEAN = (123.68, 116.78, 103.94)


def towers_network(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: Sequence[int],
    dense_units: Sequence[int],
    first_kernel_size: int,
    first_stride: int,
    scale: float,
    pooling: str = "max",
    towers: int = 2,
    normalization: bool = True,
    dropout: float = 0.5,
    initialization: str = "paper",
) -> keras.Model:
    """Five convolutions, three overlapping poolings, dense layers with dropout.

    Args:
        filters: of the five convolutions, all towers together.
        dense_units: of the hidden dense layers.
        first_kernel_size, first_stride: of the first convolution, in pixels; it pads only where its stride is 1.
        scale: factor for the pixels, once ImageNet's mean colour is subtracted.
        pooling: kind of the 3x3 poolings with stride 2.
        towers: parts of the second, fourth and fifth convolution that do not see each other.
        normalization: whether the first two convolutions are followed by local response normalisation.
        dropout: fraction of each hidden dense layer that training drops.
        initialization: 'paper' (N(0, 0.01), biases 1 in conv2, conv4, conv5 and the hidden dense layers) or the name
            of a Keras initialiser.

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns logits float32
    [batch, classes]. Raises ZooError for a bad argument.
    """
    require_count(name, "filters", filters, 5)
    first = [(first_kernel_size, first_stride)] if first_stride > 1 else []
    require_size(name, input_shape, smallest_side([*first, (3, 2), (3, 2), (3, 2)]))

    def start(bias: float) -> dict[str, Any]:
        if initialization != "paper":
            return {"kernel_initializer": initialization}
        weights, biases = keras.initializers.RandomNormal(stddev=0.01), keras.initializers.Constant(bias)
        return {"kernel_initializer": weights, "bias_initializer": biases}

    def convolution(x: Any, number: int, kernel_size: int, towers: int, bias: float) -> Any:
        options = {"padding": "same", "activation": "relu", "name": f"conv{number}", **start(bias)}
        return TowerConv2D(filters[number - 1], kernel_size, towers, **options)(x)

    def normalized_and_pooled(x: Any, number: int) -> Any:
        x = LocalResponseNormalization(towers=towers, name=f"norm{number}")(x) if normalization else x
        return pool(x, pooling, 3, 2, name=f"pool{number}")

    image = keras.Input(input_shape, name="image")
    mean = IMAGENET_MEAN if input_shape[-1] == 3 else (sum(IMAGENET_MEAN) / 3,) * input_shape[-1]
    x = layers.Rescaling(scale, offset=[-scale * value for value in mean], name="scale")(image)
    options = {"padding": "valid" if first else "same", "activation": "relu", "name": "conv1", **start(0)}
    x = layers.Conv2D(filters[0], first_kernel_size, first_stride, **options)(x)
    x = normalized_and_pooled(x, 1)
    x = convolution(x, 2, 5, towers, bias=1)
    x = normalized_and_pooled(x, 2)
    x = convolution(x, 3, 3, 1, bias=0)  # before the dense layers the one place where the towers meet
    x = convolution(x, 4, 3, towers, bias=1)
    x = convolution(x, 5, 3, towers, bias=1)
    x = pool(x, pooling, 3, 2, name="pool5")
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(dense_units, start=6):
        x = layers.Dense(units, activation="relu", name=f"fc{number}", **start(1))(x)
        x = dropped(x, dropout, f"dropout{number}")
    return keras.Model(image, class_scores(x, classes, **start(0)), name=name)


register_model(
    "alexnet",
    paper=Paper(
        CITATION,
        "sections 2, 3, 4.2, 5 and 6, figure 2",
        parameters=60_965_224,
        reports=(
            "ILSVRC-2010, test: 37.5 % top-1 error, 17.0 % top-5 error.",
            "ILSVRC-2012, top-5 error: 18.2 % of one network (validation), 16.4 % of five, 15.3 % of seven, two of "
            "them larger and trained on more (test); runner-up 26.2 %.",
        ),
        table={stage: {"neurons": printed} for stage, printed in PRINTED_NEURONS.items()}
        | {"total": {"neurons": "650,000", "parameters": "60 million"}},
    ),
    input_shape=(227, 227, 3),
    classes=1000,
    layer_parameters={
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "scores": 4_097_000,
    },
    divergences=(
        "The input is 227x227, from which 11x11 kernels with stride 4 make the 55x55 positions of figure 2; the paper "
        "prints 224x224 and is silent on padding, which here gives conv2 to conv5 the sides of that figure.",
        "conv1 has 290,400 neurons (96 maps of 55x55) where the paper prints 253,440; all layers have 659,272 where it "
        "prints 650,000, to which its own layers, 622,312 in all, do not add up either.",
        "The mean colour of ImageNet is subtracted, not the mean image.",
        "Both towers run on one device; conv1, whose towers see the same channels, is one convolution.",
        "Normalisation does not reach over the towers' seam, as on two devices; the paper's formula names all kernels.",
        "Dropout scales what it keeps by 2 while training; the paper halves these layers' outputs at test time.",
        SCORES,
    ),
    small={"input_shape": (67, 67, 3), "classes": 10, "filters": (8, 16, 24, 24, 16), "dense_units": (32, 32)},
)(
    partial(
        towers_network,
        filters=(96, 256, 384, 384, 256),
        dense_units=(4096, 4096),
        first_kernel_size=11,
        first_stride=4,
        scale=1.0,
    )
)
