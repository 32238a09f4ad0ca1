"""Receptive fields, against what really changes when pixels of the input do."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.anatomy import (
    anatomy,
    features,
)
from zoo.layers import (
    L2Pooling2D,
    MLPConv2D,
    WeightedAveragePooling2D,
)


def small(name):
    return zoo.create_model(name, **zoo.get_spec(name).small)


small_to_read = functools.cache(small)  # for tests that leave the model as it is: building takes seconds on JAX


def by_name(model):
    return {row.name: row for row in anatomy(model)}


def branches():
    """Branches of different reach and alignment, strides, dilation, every padding, a sum and a flattening."""
    image = keras.Input((31, 26, 2))
    x = layers.ZeroPadding2D(((2, 0), (1, 3)), name="pad")(image)
    x = layers.Conv2D(3, (4, 3), strides=(2, 1), name="conv")(x)
    left = layers.Conv2D(2, 3, padding="same", dilation_rate=2, name="left")(x)
    middle = layers.MaxPooling2D(2, strides=1, padding="same", name="middle")(x)
    right = MLPConv2D((4, 3), 4, name="right")(layers.AveragePooling2D(3, strides=1, padding="same", name="mean")(x))
    x = layers.Concatenate(name="joined")([left, middle, right])
    x = L2Pooling2D(3, 2, padding="same", name="l2")(x)
    x = layers.Add(name="sum")([x, layers.Conv2D(8, 1, name="beside")(x)])
    x = WeightedAveragePooling2D(2, 3, name="sparse")(x)  # leaves some positions out
    x = layers.Conv2D(3, 3, padding="same", name="last")(x)
    return keras.Model(image, layers.Dense(4, name="scores")(layers.Flatten(name="flatten")(x)))


def signal():
    image = keras.Input((60, 1))
    x = layers.Conv1D(3, 5, strides=2, padding="causal", name="causal")(layers.ZeroPadding1D((3, 1))(image))
    x = layers.Conv1D(3, 3, dilation_rate=3, name="dilated")(layers.AveragePooling1D(4, 3)(x))
    return keras.Model(image, layers.GlobalAveragePooling1D()(x))


def seen_by_changes(model, axis):
    """The longest stretch of the input along an axis that changes a value of each layer, by layer."""
    for weight in model.weights:  # averages: all positive, neither growing nor vanishing on the way
        shape = weight.shape
        weight.assign(np.full(shape, 1 / np.prod(shape[:-1]) if len(shape) > 1 else 0.0))
    side = model.input.shape[axis]
    lines = np.zeros((side, *model.input.shape[1:]), "float32")  # image i is black but for line i
    for i in range(side):
        np.moveaxis(lines[i], axis - 1, 0)[i] = 100.0
    names = [row.name for row in anatomy(model)]
    longest = {}
    for name, values in features(model, names).predict(lines, verbose=0).items():
        changed = values.reshape(side, -1, 1) if values.ndim == 2 else np.moveaxis(values, axis, 1)
        changed = (changed != 0).reshape(side, changed.shape[1], -1).any(axis=2)
        if values.ndim == 2:  # all units of a layer without positions together
            changed = changed.any(axis=1, keepdims=True)
        stretches = [np.flatnonzero(column) for column in changed.T]
        longest[name] = max(pixels[-1] - pixels[0] + 1 for pixels in stretches if pixels.size)
    return longest


@pytest.mark.parametrize(
    "build",
    [branches, signal, "lenet5_modern", "alexnet_small", "network_in_network", "inception_v1_small"],
    ids=lambda build: build if isinstance(build, str) else build.__name__,
)
def test_a_receptive_field_is_what_changes_the_layer(build):
    model = small(build) if isinstance(build, str) else build()
    for layer in model.layers:
        if isinstance(layer, layers.Rescaling):
            layer.offset = 0.0  # black stays zero, so that a change is anything else
    rows = anatomy(model)
    for axis in range(1, len(model.input.shape) - 1):
        assert {row.name: row.receptive_field[axis - 1] for row in rows} == seen_by_changes(model, axis)


def test_the_field_grows_by_the_kernel_and_the_strides_before_it():
    rows = by_name(
        keras.Sequential(
            [
                keras.Input((64, 64, 1)),
                *(layers.Conv2D(1, 3, strides=s, name=f"conv{i}") for i, s in enumerate([1, 2, 2, 1])),
            ]
        )
    )
    assert [rows[f"conv{i}"].receptive_field for i in range(4)] == [(3, 3), (5, 5), (9, 9), (17, 17)]
