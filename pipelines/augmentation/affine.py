"""Shift, rotation, scale and shear: adjacent ones are one resampling, which is cheaper and blurs once."""

import math
from collections.abc import Callable, Sequence
from functools import reduce

import tensorflow as tf

from pipelines.augmentation.change import Change, Shape, fold
from pipelines.settings.augmentation import Rotation, Scale, Shear, Shift

AffineStep = Shift | Rotation | Scale | Shear
AFFINE = (Shift, Rotation, Scale, Shear)
Inverse = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From (number of images, seed) to the inverses of one random step: float32 [count, 3, 3], about the centre."""


def fused(steps: Sequence[tuple[int, AffineStep]], shape: Shape) -> Change:
    """Steps, each with its place in the recipe, as one bilinear resampling; from beyond the border comes zero."""
    height, width, _ = shape
    inverses = [(place, _inverse(step)) for place, step in steps]
    x, y = (width - 1) / 2, (height - 1) / 2
    to_centre = tf.constant([[1, 0, -x], [0, 1, -y], [0, 0, 1]], tf.float32)
    back = tf.constant([[1, 0, x], [0, 1, y], [0, 0, 1]], tf.float32)

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[0]
        # The resampling asks where each output pixel comes from: the inverses of the steps, the last one first.
        matrix = reduce(tf.matmul, [inverse(count, fold(seed, place)) for place, inverse in inverses])
        return resampled(images, tf.reshape(back @ matrix @ to_centre, [-1, 9])[:, :8], (height, width), "CONSTANT")

    return change


def resampled(images: tf.Tensor, transforms: tf.Tensor, size: tuple[int, int], fill_mode: str) -> tf.Tensor:
    """Images of a new size whose pixel (x, y) is read, bilinearly, at (ax + by + c, dx + ey + f) of the old.

    `transforms` float32 [batch, 8] are a, b, c, d, e, f, 0, 0 for each image. Beyond the border lies zero where
    `fill_mode` is CONSTANT, the nearest pixel where it is NEAREST.
    """
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill_mode,
    )


def _inverse(step: AffineStep) -> Inverse:
    match step:
        case Shift(pixels=pixels):
            return lambda count, seed: _translation(-_uniform(count, 2, pixels, seed))
        case Rotation(degrees=degrees):
            return lambda count, seed: _turned(_uniform(count, 1, math.radians(degrees), seed)[:, 0])
        case Scale(factor=factor):
            return lambda count, seed: _shrunk(1 + _uniform(count, 1, factor, seed)[:, 0])
        case Shear(degrees=degrees):
            return lambda count, seed: _slanted(-tf.tan(_uniform(count, 1, math.radians(degrees), seed)[:, 0]))


def _uniform(count: tf.Tensor, columns: int, limit: float, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([count, columns], seed, -limit, limit)


def _translation(xy: tf.Tensor) -> tf.Tensor:
    zero, one = tf.zeros_like(xy[:, 0]), tf.ones_like(xy[:, 0])
    return _matrix([one, zero, xy[:, 0], zero, one, xy[:, 1], zero, zero, one])


def _turned(angle: tf.Tensor) -> tf.Tensor:
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _linear(cos, sin, -sin, cos)


def _shrunk(factor: tf.Tensor) -> tf.Tensor:
    zero = tf.zeros_like(factor)
    return _linear(1 / factor, zero, zero, 1 / factor)


def _slanted(slope: tf.Tensor) -> tf.Tensor:
    zero, one = tf.zeros_like(slope), tf.ones_like(slope)
    return _linear(one, slope, zero, one)


def _linear(xx: tf.Tensor, xy: tf.Tensor, yx: tf.Tensor, yy: tf.Tensor) -> tf.Tensor:
    zero, one = tf.zeros_like(xx), tf.ones_like(xx)
    return _matrix([xx, xy, zero, yx, yy, zero, zero, zero, one])


def _matrix(entries: list[tf.Tensor]) -> tf.Tensor:
    return tf.reshape(tf.stack(entries, axis=-1), [-1, 3, 3])
