"""How much an answer changes when its input is moved: pooled maps under shifts, a maximum of detectors under rotations.

Arrays hold images [count, height, width, channels] or signals [count, samples, channels].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from PIL import Image

from pipelines.errors import UsageError
from zoo.building import pool

POOLINGS = ("max", "average", "l2")
POOL_SIZES = (1, 2, 4, 8)
DETECTORS = 16
INPUTS_PER_DETECTOR = 8
"""An even number, so that some inputs lie half-way between two detectors, where the match is worst."""


@dataclass(frozen=True)
class ShiftChange:
    """By how much a shift of its input by one changes a map, relative to the map's norm; means over all examples."""

    unpooled: float
    pooled: dict[str, dict[int, float]]
    """By the kind of pooling and the side of its windows."""


def shift_change(network: keras.Model, values: np.ndarray, batch_size: int = 16) -> ShiftChange:
    """Measure ‖φ(x) − φ(shifted x)‖ / ‖φ(x)‖ for φ = the output of `network`, as it is and pooled.

    The mean is taken over `values` and over the directions: shifts by 1 both ways along each side. Windows do not
    overlap. An example to which φ answers with zeros has no such ratio and is left out; raises UsageError where none
    is left.
    """
    maps = network.outputs[0]
    branches = {("none", 1): maps}
    for kind in POOLINGS:
        for size in POOL_SIZES:
            if size <= min(maps.shape[1:-1]):
                branches[kind, size] = pool(maps, kind, size, name=f"{kind}{size}")
    measured = keras.Model(network.inputs[0], list(branches.values()))
    ratios: dict[tuple[str, int], list[np.ndarray]] = {key: [] for key in branches}
    for first in range(0, len(values), batch_size):
        batch = values[first : first + batch_size]
        still = _answers(measured, batch)
        for axis in range(1, values.ndim - 1):
            for step in (1, -1):
                moved = _answers(measured, shifted(batch, axis, step))
                for key, before, after in zip(branches, still, moved, strict=True):
                    ratios[key].append(relative_change(before, after))
    means = {key: _mean(np.concatenate(parts)) for key, parts in ratios.items()}
    by_kind = {kind: {size: mean for (k, size), mean in means.items() if k == kind} for kind in POOLINGS}
    return ShiftChange(means["none", 1], by_kind)


def shifted(values: np.ndarray, axis: int, step: int) -> np.ndarray:
    """`values` moved by `step` positions along an axis; the border's values are repeated, so that no edge appears."""
    side = values.shape[axis]
    return np.take(values, np.clip(np.arange(side) - step, 0, side - 1), axis=axis)


def relative_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """‖before − after‖ / ‖before‖ of each example: float64 [count]; NaN where `before` is zero."""
    flat = before.reshape(len(before), -1).astype(np.float64)
    difference = np.linalg.norm(flat - after.reshape(flat.shape), axis=1)
    norm = np.linalg.norm(flat, axis=1)
    return np.divide(difference, norm, out=np.full(len(flat), np.nan), where=norm > 0)


def _answers(network: keras.Model, values: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(answer)) for answer in network(values, training=False)]


def _mean(ratios: np.ndarray) -> float:
    known = ratios[~np.isnan(ratios)]
    if not len(known):
        raise UsageError("The first convolution answers every example with zeros, so that no change can be measured.")
    return float(known.mean())


@dataclass(frozen=True)
class RotationResponses:
    """What detectors of one pattern, each tuned to another rotation of it, answer to its rotations."""

    tuned_to: np.ndarray
    """Degrees, [detectors]."""
    detectors: np.ndarray
    """Kernels, float32 [detectors, height, width, channels]."""
    angles: np.ndarray
    """Degrees, [count]."""
    responses: np.ndarray
    """Float32 [count, detectors]; 1 is a perfect match."""

    @property
    def spreads(self) -> np.ndarray:
        """By what share of its largest response each detector falls over the rotations: [detectors]."""
        return spread(self.responses)

    @property
    def spread_of_maximum(self) -> float:
        """The same of the maximum over the detectors."""
        return float(spread(self.responses.max(axis=1, keepdims=True))[0])


def rotation_responses(pixels: np.ndarray, detectors: int = DETECTORS) -> RotationResponses:
    """Match an image, float [side, side, channels], at all rotations with templates of itself at some of them.

    A detector is the filter of a convolution whose kernel is the rotated image, brought to mean zero and norm one
    within the inscribed circle and zero outside. The inputs are brought to norm one in the same way, so that a response
    is a correlation. Nothing is trained (Goodfellow et al., Deep Learning, figure 9.9, shows learned filters).
    """
    tuned_to = np.arange(detectors) * (360 / detectors)
    angles = np.linspace(0, 360, detectors * INPUTS_PER_DETECTOR + 1)
    templates = _standardised(np.stack([rotated(pixels, angle) for angle in tuned_to]))
    inputs = np.stack([rotated(pixels, angle) for angle in angles])
    match = keras.layers.Conv2D(detectors, pixels.shape[:2], use_bias=False)
    match.build((None, *pixels.shape))
    match.set_weights([np.moveaxis(templates, 0, -1)])
    responses = keras.ops.convert_to_numpy(match(_standardised(inputs)))[:, 0, 0]
    return RotationResponses(tuned_to, templates, angles, responses)


def rotated(pixels: np.ndarray, degrees: float) -> np.ndarray:
    """An image, float [height, width, channels], turned counter-clockwise about its centre; outside it is black."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(pixels, -1, 0)]
    return np.stack([np.asarray(c.rotate(degrees, Image.Resampling.BICUBIC)) for c in channels], axis=-1)


def spread(responses: np.ndarray) -> np.ndarray:
    """(largest − smallest) / largest over the first axis."""
    largest = responses.max(axis=0)
    return (largest - responses.min(axis=0)) / largest


def _standardised(images: np.ndarray) -> np.ndarray:
    """Mean zero and norm one within the inscribed circle, zero outside: float32, the shape of `images`."""
    inside = _circle(images.shape[1:3])[..., np.newaxis]
    area = inside.sum() * images.shape[-1]
    mean = (images * inside).sum(axis=(1, 2, 3), keepdims=True) / area
    centred = (images - mean) * inside
    norm = np.sqrt((centred**2).sum(axis=(1, 2, 3), keepdims=True))
    if not norm.all():
        raise UsageError("The image is of one colour, so that a rotation of it cannot be told; give another image.")
    return (centred / norm).astype(np.float32)


def _circle(sides: Sequence[int]) -> np.ndarray:
    """Whether a pixel lies within the largest circle about the centre: bool [height, width]."""
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in sides)
    return np.hypot(rows[:, np.newaxis], columns) <= min(sides) / 2
