"""A one-dimensional convolutional network that tells speech from other sound.

After Olah, "Conv Nets: A Modular Perspective" (2014): the same neurons look at every short stretch of the samples,
max-pooling says whether a feature was there a little earlier or later, a second such pair looks at longer stretches.
"""

from collections.abc import Sequence

import keras
from keras import layers

from zoo.building import SCORES, class_scores, dropped, pool, require_size, smallest_side
from zoo.registry import register_model
from zoo.spec import Paper


def speech_conv1d(
    *,
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    filters: Sequence[int] = (16, 32),
    kernel_size: int = 10,
    pool_size: int = 4,
    dense_units: Sequence[int] = (32,),
    pooling: str = "max",
    dropout: float = 0.0,
    initialization: str = "he_normal",
) -> keras.Model:
    """Convolution and pooling along time for each entry of `filters`, then dense layers, then a score per class.

    Args:
        filters: filters of each convolution (valid, stride 1).
        kernel_size: of the convolutions, in samples.
        pool_size: of the poolings, in samples or positions.
        dense_units: units of each fully connected hidden layer.
        pooling: kind of the poolings.
        dropout: fraction of the inputs of every dense layer that training drops.
        initialization: name of a Keras initialiser.

    The model takes `signal` float32 [batch, samples, channels], −1…1, and returns logits float32 [batch, classes].
    Raises ZooError for a bad argument.
    """
    require_size(name, input_shape, smallest_side([(kernel_size, 1), (pool_size, pool_size)] * len(filters)))
    signal = keras.Input(input_shape, name="signal")
    x = signal
    start = {"kernel_initializer": initialization}
    for i, count in enumerate(filters, start=1):
        x = layers.Conv1D(count, kernel_size, activation="relu", name=f"conv{i}", **start)(x)
        x = pool(x, pooling, pool_size, name=f"pool{i}")
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(dense_units, start=1):
        x = dropped(x, dropout, f"dropout{i}")
        x = layers.Dense(units, activation="relu", name=f"dense{i}", **start)(x)
    x = dropped(x, dropout, "dropout_scores")
    return keras.Model(signal, class_scores(x, classes, **start), name=name)


register_model(
    "speech_conv1d",
    paper=Paper(
        "Olah, C. Conv Nets: A Modular Perspective. colah.github.io, 2014",
        "'Structure of Convolutional Neural Networks'",
    ),
    input_shape=(1000, 1),
    classes=2,
    layer_parameters={"conv1": 176, "conv2": 5_152, "dense1": 60_448, "scores": 66},
    divergences=(
        "The text gives no sizes; these suit an eighth of a second of sound at 8 kHz.",
        "The text leaves the last layers open; here they are a dense layer and one score for each class.",
        SCORES,
    ),
    input="signal",
)(speech_conv1d)
