"""What a layer sees: the stretch of the network's input, along each axis, that can change a value of its output.

Every position of every layer is followed, so that strides, dilation, padding and branches of different reach come out
exactly: a window sees what its positions see together, branches that meet see what each of them sees, the padding sees
nothing, and a layer that mixes everything sees what all its positions see together. A stretch runs from the first to
the last pixel seen and stays inside the input; a layer's receptive field is the longest of its positions'.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers

from zoo.anatomy.windows import Window, windows_of
from zoo.layers import MLPConv2D
from zoo.spec import ZooError

# The first and the last pixel that a position in the padding sees: neutral to minimum and maximum.
_NO_FIRST, _NO_LAST = np.iinfo(np.int64).max, -1


@dataclass(frozen=True)
class Span:
    """For each position along one axis the first and the last input pixel that it sees: two int arrays [positions]."""

    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of_input(cls, length: int) -> "Span":
        """Of the input itself: each pixel sees itself."""
        return cls(np.arange(length), np.arange(length))

    def __len__(self) -> int:
        """Positions along the axis."""
        return len(self.first)

    def at(self, positions: Sequence[int]) -> "Span":
        """Of some of the positions, in the order given."""
        return Span(self.first[list(positions)], self.last[list(positions)])

    def through(self, window: Window) -> "Span":
        """Of the outputs of a window slid along the axis."""
        padded = self.padded(0, 1)  # a window marks the padding with −1, the last position
        positions = window.positions(len(self))
        return Span(padded.first[positions].min(axis=1), padded.last[positions].max(axis=1))

    def padded(self, before: int, after: int) -> "Span":
        """With positions at both ends that see nothing."""
        margins = (before, after)
        return Span(
            np.pad(self.first, margins, constant_values=_NO_FIRST), np.pad(self.last, margins, constant_values=_NO_LAST)
        )

    def merged(self) -> "Span":
        """One position that sees what all see."""
        return Span(self.first.min(keepdims=True), self.last.max(keepdims=True))

    def joined(self, other: "Span") -> "Span":
        """Each position sees what it sees here and there."""
        return Span(np.minimum(self.first, other.first), np.maximum(self.last, other.last))

    @property
    def longest(self) -> int:
        """The length, in pixels, of the longest stretch that one position sees."""
        return int(np.max(self.last - self.first)) + 1


Field = tuple[Span, ...]
"""What a layer's positions see along each spatial axis of the network's input."""
FieldRule = Callable[[Any, tuple[Field, ...], tuple[int, ...]], Field]


@functools.singledispatch
def field(layer: Any, inputs: Sequence[Field], output: tuple[int, ...]) -> Field:
    """What the output of a layer sees, by what its inputs see and the output's shape without the batch.

    A layer of an unknown kind slides its `kernel_size` or `pool_size`, leaves the positions where they are, or has one
    position left; any other raises ZooError.
    """
    joined = _joined(inputs)
    windows, sides = windows_of(layer), output[:-1]
    if windows:
        joined = tuple(span.through(window) for span, window in zip(joined, windows, strict=True))
    elif all(side == 1 for side in sides):
        return tuple(span.merged() for span in joined)
    if tuple(map(len, joined)) != sides:
        kind = type(layer).__name__
        raise ZooError(
            f"No rule says what '{layer.name}' of kind {kind} sees; register one with @register_field({kind})."
        )
    return joined


def _joined(inputs: Sequence[Field]) -> Field:
    """What positions see that see all of the inputs'."""
    return tuple(functools.reduce(Span.joined, spans) for spans in zip(*inputs, strict=True))


def register_field(*kinds: type) -> Callable[[FieldRule], FieldRule]:
    """Register a rule for kinds of layers: a function (layer, fields of its inputs, output shape) → field.

    A field is a tuple of `Span`, one for each spatial axis of the network's input. Only layers that neither slide a
    window, nor keep all positions, nor mix them all need a rule.
    """

    def register(rule: FieldRule) -> FieldRule:
        for kind in kinds:
            field.register(kind, rule)
        return rule

    return register


@register_field(layers.ZeroPadding1D, layers.ZeroPadding2D)
def _padding(layer: Any, inputs: tuple[Field, ...], output: tuple[int, ...]) -> Field:
    margins = [layer.padding] if isinstance(layer, layers.ZeroPadding1D) else layer.padding
    return tuple(span.padded(*margin) for span, margin in zip(inputs[0], margins, strict=True))


@register_field(layers.Concatenate)
def _side_by_side(layer: Any, inputs: tuple[Field, ...], output: tuple[int, ...]) -> Field:
    if layer.axis not in (-1, len(output)):
        raise ZooError(
            f"'{layer.name}' joins along axis {layer.axis}; the anatomy reads maps that are joined, axis -1."
        )
    return _joined(inputs)


@register_field(MLPConv2D)
def _mlpconv(layer: Any, inputs: tuple[Field, ...], output: tuple[int, ...]) -> Field:
    seen = inputs[0]
    for convolution in layer.convolutions:
        seen = tuple(span.through(w) for span, w in zip(seen, windows_of(convolution) or (), strict=True))
    return seen
