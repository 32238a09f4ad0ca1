"""Which input positions each window of a convolution or pooling takes: one place for shapes, fields and matrices."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.spec import ZooError


@dataclass(frozen=True)
class Window:
    """A window slid along one axis: `size` positions, `dilation` apart, moved by `stride`."""

    size: int
    stride: int = 1
    dilation: int = 1
    padding: str = "valid"
    """Keras's 'valid', 'same' or 'causal'; 'same' puts the odd position at the end, as TensorFlow and JAX do."""

    def positions(self, length: int) -> np.ndarray:
        """The input positions of every window along an axis of `length`: int [outputs, size], −1 in the padding."""
        reach = (self.size - 1) * self.dilation + 1
        if self.padding == "valid":
            outputs, before = (length - reach) // self.stride + 1, 0
        else:
            outputs = -(-length // self.stride)
            missing = max((outputs - 1) * self.stride + reach - length, 0)
            before = reach - 1 if self.padding == "causal" else missing // 2
        starts = np.arange(outputs) * self.stride - before
        taken = starts[:, np.newaxis] + np.arange(self.size) * self.dilation
        return np.where((taken >= 0) & (taken < length), taken, -1)


def windows_of(layer: Any) -> tuple[Window, ...] | None:
    """The window of a convolution or pooling along each of its axes; None for a layer without.

    Raises ZooError for a layer that has the channels first.
    """
    sizes = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    if sizes is None:
        return None
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ZooError(f"'{layer.name}' has data_format '{layer.data_format}'; the anatomy reads 'channels_last' only.")
    ones = (1,) * len(sizes)
    strides = getattr(layer, "strides", ones)
    dilations = getattr(layer, "dilation_rate", ones)
    padding = getattr(layer, "padding", "valid")
    return tuple(Window(*axis, padding) for axis in zip(sizes, strides, dilations, strict=True))
