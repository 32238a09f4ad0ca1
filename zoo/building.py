"""What the networks' builders share: pooling by its kind, and checks of arguments."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras import layers

from zoo.layers import (
    L2Pooling1D,
    L2Pooling2D,
    UnscaledDropout,
    WeightedAveragePooling1D,
    WeightedAveragePooling2D,
)
from zoo.spec import ZooError

SCORES = "The network ends in scores; the softmax over them is part of the loss and of the export."
"""A divergence of every network whose paper ends in a softmax."""
POOLING = {
    "max": (layers.MaxPooling1D, layers.MaxPooling2D),
    "average": (layers.AveragePooling1D, layers.AveragePooling2D),
    "l2": (L2Pooling1D, L2Pooling2D),
    "weighted": (WeightedAveragePooling1D, WeightedAveragePooling2D),
}
"""The pooling kinds that are arguments of every network: along one and along two axes."""

DROPOUT = {"scaled": layers.Dropout, "unscaled": UnscaledDropout}
"""The kinds of dropout."""


def pool(x: Any, kind: str, size: int, strides: int | None = None, *, padding: str = "valid", name: str) -> Any:
    """Pool [batch, samples, channels] or [batch, height, width, channels]; `strides` are `size` by default.

    Raises ZooError for an unknown kind.
    """
    if kind not in POOLING:
        raise ZooError(
            f"pooling is '{kind}' in {name}; expected {', '.join(list(POOLING)[:-1])} or {list(POOLING)[-1]}."
        )
    layer = POOLING[kind][len(x.shape) - 3]
    return layer(size, strides=strides or size, padding=padding, name=name)(x)


def dropped(x: Any, rate: float, name: str, kind: str = "scaled") -> Any:
    """`x` with a fraction `rate` of it dropped in training; no layer at all where that is 0.

    `kind` is 'scaled' (what is kept is enlarged while training) or 'unscaled' (all is made smaller otherwise). Raises
    ZooError for an unknown kind and for a rate that is no fraction.
    """
    if not 0 <= rate < 1:
        raise ZooError(f"dropout is {rate} in {name}; expected a fraction from 0 to below 1.")
    if kind not in DROPOUT:
        raise ZooError(f"dropout_kind is '{kind}' in {name}; expected {' or '.join(DROPOUT)}.")
    return DROPOUT[kind](rate, name=name)(x) if rate else x


def class_scores(x: Any, classes: int, name: str = "scores", **options: Any) -> Any:
    """A dense layer of one score per class: float32 under mixed precision too, as the loss needs them."""
    return layers.Dense(classes, dtype="float32", name=name, **options)(x)


def require_size(network: str, input_shape: Sequence[int], smallest: int) -> None:
    """Raise ZooError where an input is smaller than `smallest` along any of its axes."""
    sides = tuple(input_shape[:-1])
    if min(sides) < smallest:
        needed = "x".join([str(smallest)] * len(sides))
        unit = "pixels" if len(sides) == 2 else "samples"
        received = "x".join(map(str, sides))
        raise ZooError(f"{network} received an input of {received} {unit}; the smallest is {needed}.")


def require_count(network: str, argument: str, values: Sequence[Any], count: int) -> None:
    """Raise ZooError unless an argument lists so many values."""
    if len(values) != count:
        raise ZooError(f"{network} takes {count} {argument}, one for each; received {len(values)}.")


def smallest_side(stages: Iterable[tuple[int, int]], last: int = 1) -> int:
    """The side that leaves `last` after unpadded stages of (kernel or window, stride), in the network's order."""
    side = last
    for kernel, stride in reversed(list(stages)):
        side = (side - 1) * stride + kernel
    return side
