"""Convolution as matrix multiplication: im2col, as it is computed, and the dense matrix that it really is.

Goodfellow et al., Deep Learning, sections 9.1 and 9.2: a convolution is a linear map whose matrix is sparse and repeats
the kernel's few weights; a layer that stored it would pay for every zero.
"""

import math
from typing import Any

import numpy as np
from keras import layers, ops

from zoo.anatomy.cost import has_bias
from zoo.anatomy.windows import Window, windows_of
from zoo.layers import PartiallyConnectedConv2D, TowerConv2D
from zoo.spec import ZooError

LARGEST_MATRIX = 2**27
"""Entries that `dense_matrix` builds at most: half a gigabyte of float32."""


def im2col(layer: Any, images: Any) -> tuple[np.ndarray, np.ndarray]:
    """A convolution of images [batch, *sides, maps] as the product of two matrices, (patches, matrix).

    `patches`, [batch · positions, taps · maps], has a row for each position of the output: the input values under the
    kernel there, zero in the padding. `matrix`, float [taps · maps, filters], has a column for each filter; where a
    filter does not see a map (towers, groups, connection tables) it is zero. `patches @ matrix + bias`, reshaped to the
    layer's output shape, is its output before the activation.

    Takes a built Conv1D, Conv2D, TowerConv2D or PartiallyConnectedConv2D; raises ZooError for any other layer.
    """
    images = ops.convert_to_numpy(images)
    windows, kernel = _windows(layer, images.shape[1:]), _full_kernel(layer, images.shape[-1])
    return _patches(images, windows), kernel.reshape(-1, kernel.shape[-1])


def dense_matrix(layer: Any, input_shape: tuple[int, ...]) -> np.ndarray:
    """The convolution of one image [*sides, maps] as one matrix, float [inputs, outputs], most of it zeros.

    The flattened image times the matrix, plus each position's bias, is the flattened output before the activation.
    Takes the layers that `im2col` takes; raises ZooError for others and for a matrix of over `LARGEST_MATRIX` entries.
    """
    windows = _windows(layer, input_shape)
    inputs, outputs = math.prod(input_shape), _outputs(layer, input_shape)
    if inputs * outputs > LARGEST_MATRIX:
        raise ZooError(
            f"The dense matrix of '{layer.name}' would have {inputs * outputs:,} entries; give a smaller input, or "
            "count its operations with dense_operations."
        )
    kernel = _full_kernel(layer, input_shape[-1])
    weights = kernel.reshape(-1, kernel.shape[-1])
    # The input values' own numbers, convolved: which input each weight meets at each position; 0 is padding.
    numbers = np.arange(1, inputs + 1).reshape(1, *input_shape)
    met = _patches(numbers, windows)
    matrix = np.zeros((inputs + 1, len(met), kernel.shape[-1]), kernel.dtype)
    for position, numbered in enumerate(met):
        np.add.at(matrix, (numbered, position), weights)
    return matrix[1:].reshape(inputs, outputs)


def dense_operations(layer: Any, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """(multiplications, additions) of the convolution of one image [*sides, maps] by its dense matrix, zeros and all.

    The matrix, of which nothing is built, has as many entries as there are multiplications. Raises ZooError for a layer
    that is no convolution.
    """
    _windows(layer, input_shape)
    inputs, outputs = math.prod(input_shape), _outputs(layer, input_shape)
    return inputs * outputs, (inputs - 1 + has_bias(layer)) * outputs


def _windows(layer: Any, input_shape: tuple[int, ...]) -> tuple[Window, ...]:
    """The windows of a convolution. Raises ZooError for another layer, or an input with other than its axes."""
    kinds = (layers.Conv1D, layers.Conv2D, TowerConv2D, PartiallyConnectedConv2D)
    windows = windows_of(layer) if isinstance(layer, kinds) else None
    if windows is None:
        expected = ", ".join(kind.__name__ for kind in kinds)
        raise ZooError(f"'{layer.name}' is of kind {type(layer).__name__}; only {expected} have a matrix form.")
    if len(input_shape) != len(windows) + 1:
        axes = "samples and maps" if len(windows) == 1 else "height, width and maps"
        raise ZooError(f"'{layer.name}' takes an input of {axes}; received the shape {tuple(input_shape)}.")
    return windows


def _outputs(layer: Any, input_shape: tuple[int, ...]) -> int:
    """Values of the output for one image."""
    return math.prod(layer.compute_output_shape((1, *input_shape)))


def _full_kernel(layer: Any, maps: int) -> np.ndarray:
    """The weights between every pair of maps: float [*kernel_size, maps, filters], zero where a pair has none.

    Raises ZooError for a layer without weights, or with weights for another number of maps.
    """
    if not layer.built:
        raise ZooError(f"'{layer.name}' has no weights yet; build it, or call it once.")
    full = _kernel_of_all_pairs(layer)
    if full.shape[-2] != maps:
        raise ZooError(f"'{layer.name}' takes {full.shape[-2]} maps; received {maps}.")
    return full


def _kernel_of_all_pairs(layer: Any) -> np.ndarray:
    if isinstance(layer, PartiallyConnectedConv2D):
        return ops.convert_to_numpy(ops.cast(layer.full_kernel(), "float32"))
    kernel = ops.convert_to_numpy(layer.kernel)
    groups = layer.towers if isinstance(layer, TowerConv2D) else layer.groups
    maps, filters = kernel.shape[-2], kernel.shape[-1] // groups
    full = np.zeros((*kernel.shape[:-2], groups * maps, groups * filters), kernel.dtype)
    for group in range(groups):
        own = slice(group * filters, (group + 1) * filters)
        full[..., group * maps : (group + 1) * maps, own] = kernel[..., own]
    return full


def _patches(images: np.ndarray, windows: tuple[Window, ...]) -> np.ndarray:
    """The values under each window of images [batch, *sides, maps]: [batch · positions, taps · maps]."""
    for axis, window in enumerate(windows):
        # Each side becomes two axes, positions and taps; those of the axes before it stand in front of this one.
        side = 2 * axis + 1
        # One more position, of zeros, is what a window's −1 takes.
        padded = np.pad(images, [(0, int(i == side)) for i in range(images.ndim)])
        images = np.take(padded, window.positions(images.shape[side]), axis=side)
    rank = len(windows)
    positions, taps = range(1, 2 * rank, 2), range(2, 2 * rank + 1, 2)
    ordered = images.transpose(0, *positions, *taps, 2 * rank + 1)
    rows = math.prod(ordered.shape[: rank + 1])
    return ordered.reshape(rows, -1)
