"""A convolution as a matrix."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from zoo.anatomy import (
    anatomy,
    dense_matrix,
    dense_operations,
    im2col,
)
from zoo.layers import (
    PartiallyConnectedConv2D,
    TowerConv2D,
)

CONVOLUTIONS = [
    (layers.Conv2D(3, 3), (6, 7, 2)),
    (layers.Conv2D(3, (2, 3), strides=(2, 1), use_bias=False), (7, 6, 2)),
    (layers.Conv2D(3, 4, strides=2, padding="same"), (7, 6, 2)),
    (layers.Conv2D(2, 3, padding="same", dilation_rate=2), (6, 6, 1)),
    (layers.Conv2D(4, 3, groups=2), (6, 6, 4)),
    (layers.Conv1D(3, 5, strides=2), (13, 2)),
    (layers.Conv1D(3, 5, dilation_rate=2, padding="causal"), (13, 2)),
    (TowerConv2D(6, 3, towers=2, strides=2, padding="same"), (7, 8, 4)),
    (PartiallyConnectedConv2D([[0, 2], [1], [0, 1, 2]], 3), (6, 5, 3)),
]


def convolution_ids(value):
    if not isinstance(value, layers.Layer):
        return ""
    return f"{type(value).__name__}-{getattr(value, 'padding', 'valid')}"


@pytest.fixture(params=CONVOLUTIONS, ids=lambda case: convolution_ids(case[0]))
def convolution(request):
    """(layer with weights of its own, shape of its input, three images, its output)."""
    configured, shape = request.param
    layer = type(configured).from_config(configured.get_config())
    layer.build((None, *shape))
    rng = np.random.default_rng(2)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    images = rng.normal(size=(3, *shape)).astype("float32")
    return layer, shape, images, ops.convert_to_numpy(layer(images))


def bias_of(layer):
    return ops.convert_to_numpy(layer.bias) if getattr(layer, "use_bias", True) else 0


def test_a_convolution_is_patches_times_its_matrix(convolution):
    layer, _, images, output = convolution
    patches, matrix = im2col(layer, images)
    assert patches.ndim == matrix.ndim == 2
    np.testing.assert_allclose((patches @ matrix + bias_of(layer)).reshape(output.shape), output, atol=1e-5)


def test_a_convolution_is_one_dense_matrix_of_mostly_zeros(convolution):
    layer, shape, images, output = convolution
    matrix = dense_matrix(layer, shape)
    flat = (images.reshape(len(images), -1) @ matrix).reshape(output.shape) + bias_of(layer)
    np.testing.assert_allclose(flat, output, atol=1e-5)
    multiplications, additions = dense_operations(layer, shape)
    assert multiplications == matrix.size
    assert additions == matrix.shape[1] * (matrix.shape[0] - 1 + getattr(layer, "use_bias", True))
    (row,) = anatomy(keras.Sequential([keras.Input(shape), layer]))
    if getattr(layer, "padding", "valid") == "valid":  # else positions in the padding count too
        assert np.count_nonzero(matrix) == row.multiplications
    assert np.count_nonzero(matrix) <= row.multiplications < matrix.size


def test_the_activation_is_not_part_of_the_matrix():
    layer = layers.Conv2D(4, 3, activation="relu")
    images = np.random.default_rng(3).normal(size=(2, 5, 5, 1)).astype("float32")
    output = ops.convert_to_numpy(layer(images))
    patches, matrix = im2col(layer, images)
    before = (patches @ matrix).reshape(output.shape)
    assert (before < 0).any()
    np.testing.assert_allclose(np.maximum(before, 0), output, atol=1e-5)
