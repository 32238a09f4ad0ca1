"""The MNIST CNN ladder of Nielsen's "Neural Networks and Deep Learning", chapter 6 (program network3.py).

Five networks, each a rung above the last:

    mnist_fc           784 – FC 100 – 10, sigmoid                            97.80 %      79,510 parameters
    mnist_cnn_conv1    20@5x5 – pool – FC 100 – 10, sigmoid                  98.78 %     289,630
    mnist_cnn_conv2    20@5x5 – pool – 40@5x5 – pool – FC 100 – 10, sigmoid  99.06 %      85,670
    mnist_cnn_relu     the same with ReLU                                    99.23 %      85,670
    mnist_cnn_dropout  the same with FC 1000 – FC 1000 and dropout 0.5       99.60 %   1,672,570
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from zoo.building import SCORES, class_scores, dropped, pool, require_size, smallest_side
from zoo.registry import register_model
from zoo.spec import Paper

CITATION = "Nielsen, Michael A. Neural Networks and Deep Learning. Determination Press, 2015"
SECTION = "chapter 6, 'Convolutional neural networks in practice'"
SCALING = "Pixels are divided by 255; the text's data file holds grey levels divided by 256."
DROPOUT = (
    "Dropout scales the kept activations by 1/(1 − p) while training, unless dropout_kind is 'unscaled'; network3 "
    "leaves them as they are and multiplies the weights by 1 − p at test time."
)


def network3(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: Sequence[int] = (20, 40),
    kernel_size: int = 5,
    padding: int = 0,
    dense_units: Sequence[int] = (100,),
    activation: str = "sigmoid",
    pooling: str = "max",
    dropout: float = 0.0,
    dropout_kind: str = "scaled",
    initialization: str = "paper",
) -> keras.Model:
    """Convolution and 2x2 pooling for each entry of `filters`, then dense layers, then a score per class.

    Args:
        filters: filters of each convolution (valid, stride 1).
        kernel_size: side of the kernels, in pixels.
        padding: pixels of black put around the image.
        dense_units: units of each fully connected hidden layer.
        activation: name of the Keras activation of every hidden layer.
        pooling: kind of the 2x2 poolings, 'max', 'average', 'l2' or 'weighted'.
        dropout: fraction of the inputs of every dense layer that training drops, from 0 to below 1.
        dropout_kind: 'scaled', as Keras does, or 'unscaled', as network3 does: see `zoo.layers.UnscaledDropout`.
        initialization: 'paper' (weights N(0, 1/n_out), biases N(0, 1), score layer zero) or the name of the Keras
            initialiser of all weights (biases are then zero).

    The model takes `image` float32 [batch, height, width, channels], pixels 0…255, and returns logits float32
    [batch, classes]: the softmax is part of the loss and of the export. Raises ZooError for a bad argument.
    """
    require_size(name, input_shape, smallest_side([(kernel_size, 1), (2, 2)] * len(filters)) - 2 * padding)

    image = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(padding, name="pad")(image) if padding else image
    x = layers.Rescaling(1 / 255, name="scale")(x)
    for i, count in enumerate(filters, start=1):
        n_out = count * kernel_size**2 / 4  # the text divides by the pooling's area
        x = layers.Conv2D(count, kernel_size, activation=activation, name=f"conv{i}", **_start(n_out, initialization))(
            x
        )
        x = pool(x, pooling, 2, name=f"pool{i}")
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(dense_units, start=1):
        x = dropped(x, dropout, f"dropout{i}", dropout_kind)
        x = layers.Dense(units, activation=activation, name=f"dense{i}", **_start(units, initialization))(x)
    x = dropped(x, dropout, "dropout_scores", dropout_kind)
    last = "zeros" if initialization == "paper" else initialization
    return keras.Model(image, class_scores(x, classes, kernel_initializer=last), name=name)


def _start(n_out: float, initialization: str) -> dict[str, Any]:
    """Initialisers of a hidden layer."""
    if initialization != "paper":
        return {"kernel_initializer": initialization}
    return {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=math.sqrt(1 / n_out)),
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0),
    }


def _rung(name: str, accuracy: float, layer_parameters: dict[str, int], *divergences: str, **arguments: Any) -> None:
    """Register one rung of the ladder: `network3` with other defaults."""
    register_model(
        name,
        paper=Paper(CITATION, SECTION, sum(layer_parameters.values()), test_accuracy=accuracy),
        input_shape=(28, 28, 1),
        classes=10,
        layer_parameters=layer_parameters,
        divergences=(SCALING, SCORES, *divergences),
    )(partial(network3, **arguments))


_CONV = {"conv1": 520, "conv2": 20_040}
_rung("mnist_fc", 97.80, {"dense1": 78_500, "scores": 1_010}, filters=())
_rung("mnist_cnn_conv1", 98.78, {"conv1": 520, "dense1": 288_100, "scores": 1_010}, filters=(20,))
_rung("mnist_cnn_conv2", 99.06, {**_CONV, "dense1": 64_100, "scores": 1_010})
_rung("mnist_cnn_relu", 99.23, {**_CONV, "dense1": 64_100, "scores": 1_010}, activation="relu")
_rung(
    "mnist_cnn_dropout",
    99.60,
    {**_CONV, "dense1": 641_000, "dense2": 1_001_000, "scores": 10_010},
    DROPOUT,
    activation="relu",
    dense_units=(1000, 1000),
    dropout=0.5,
)
