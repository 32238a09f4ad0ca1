"""Augmentation: random changes to training images, as a recipe lists them; never part of an exported network.

Every random number is a pure function of a seed that the caller derives from (run, epoch, step), so that a run's
images do not depend on how many threads prepare them.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from pipelines.settings.augmentation import AugmentationStep, Rotation, Scale, Shear, Shift

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_augmentation(steps: Sequence[AugmentationStep]) -> Augment:
    """A function from (images float32 [batch, height, width, channels], seed int32 [2]) to changed images.

    The steps, all affine, are fused into one bilinear resampling: cheaper than one each, and it blurs once. What comes
    in from beyond the border is zero, the background of digits.
    """

    @tf.autograph.experimental.do_not_convert  # AutoGraph does not know `match`, and nothing here needs converting
    def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        if not steps:
            return images
        shape = tf.shape(images)
        centre = tf.cast(tf.stack([shape[2] - 1, shape[1] - 1]), tf.float32) / 2
        # The resampling asks where each output pixel comes from: the inverses of the steps, the last one first.
        matrix = tf.eye(3, batch_shape=shape[:1])
        for i, step in enumerate(steps):
            matrix = matrix @ _inverse(step, shape[0], tf.random.experimental.stateless_fold_in(seed, i))
        to_centre, back = _translation(-centre[tf.newaxis]), _translation(centre[tf.newaxis])
        flat = tf.reshape(back @ matrix @ to_centre, [-1, 9])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=flat[:, :8] / flat[:, 8:],
            output_shape=shape[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )

    return augment


def _inverse(step: AugmentationStep, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The inverse of one random affine step for each of `count` images: float32 [count, 3, 3], about the centre."""

    def uniform(columns: int, limit: float) -> tf.Tensor:
        return tf.random.stateless_uniform([count, columns], seed, -limit, limit)

    zero, one = tf.zeros([count]), tf.ones([count])
    match step:
        case Shift(pixels=pixels):
            return _translation(-uniform(2, pixels))
        case Rotation(degrees=degrees):
            angle = uniform(1, math.radians(degrees))[:, 0]
            cos, sin = tf.cos(angle), tf.sin(angle)
            return _linear(cos, sin, -sin, cos)
        case Scale(factor=factor):
            inverse = 1 / (1 + uniform(1, factor)[:, 0])
            return _linear(inverse, zero, zero, inverse)
        case Shear(degrees=degrees):
            return _linear(one, -tf.tan(uniform(1, math.radians(degrees))[:, 0]), zero, one)


def _translation(xy: tf.Tensor) -> tf.Tensor:
    count = tf.shape(xy)[:1]
    zero, one = tf.zeros(count), tf.ones(count)
    return _matrix([one, zero, xy[:, 0], zero, one, xy[:, 1], zero, zero, one])


def _linear(xx: tf.Tensor, xy: tf.Tensor, yx: tf.Tensor, yy: tf.Tensor) -> tf.Tensor:
    zero, one = tf.zeros_like(xx), tf.ones_like(xx)
    return _matrix([xx, xy, zero, yx, yy, zero, zero, zero, one])


def _matrix(entries: list[tf.Tensor]) -> tf.Tensor:
    return tf.reshape(tf.stack(entries, axis=-1), [-1, 3, 3])
