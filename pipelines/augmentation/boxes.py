"""Rectangles in images, and cutout, which covers one."""

import tensorflow as tf

from pipelines.augmentation.change import Change, Shape, fold
from pipelines.settings.augmentation import Cutout


def cutout(step: Cutout, shape: Shape) -> Change:
    """Cover a square around a random pixel of each image."""
    height, width, _ = shape

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[:1]
        top = tf.random.stateless_uniform(count, fold(seed, 0), 0, height, tf.int32) - step.size // 2
        left = tf.random.stateless_uniform(count, fold(seed, 1), 0, width, tf.int32) - step.size // 2
        covered = inside(top, left, top + step.size, left + step.size, shape)
        return (1 - covered) * images + covered * step.fill

    return change


def inside(top: tf.Tensor, left: tf.Tensor, bottom: tf.Tensor, right: tf.Tensor, shape: Shape) -> tf.Tensor:
    """1 where a pixel lies in a rectangle, else 0: float32 [batch, height, width, 1].

    The four borders are int32 [batch]. `bottom` and `right` are the first row and column that lie outside; a border may
    lie outside the image.
    """
    row, column = tf.range(shape[0]), tf.range(shape[1])
    rows = (row >= top[:, tf.newaxis]) & (row < bottom[:, tf.newaxis])
    columns = (column >= left[:, tf.newaxis]) & (column < right[:, tf.newaxis])
    return tf.cast(rows[:, :, tf.newaxis] & columns[:, tf.newaxis], tf.float32)[..., tf.newaxis]
