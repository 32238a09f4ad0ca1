"""Steps that move whole pixels or cut windows: shift expansion, flip, crop, resized crop."""

import tensorflow as tf

from pipelines.augmentation.affine import resampled
from pipelines.augmentation.change import Change, Shape, fold
from pipelines.settings.augmentation import Crop, Flip, ResizedCrop

SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""Of the versions of a shift expansion, in (down, right): the image itself, up, down, left, right."""


def expanded(images: tf.Tensor, versions: tf.Tensor, pixels: int) -> tf.Tensor:
    """Each image shifted as its version (int64 [batch], a place in SHIFTS) says; zero comes in."""
    _, height, width, _ = images.shape
    # A window of the padded image that lies lower shows the image shifted up.
    return _windows(images, pixels, pixels - pixels * tf.gather(tf.constant(SHIFTS), versions), (height, width))


def flip(step: Flip) -> Change:
    """Mirror each image with a probability of 1/2."""
    axis = 2 if step.axis == "horizontal" else 1

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        heads = tf.random.stateless_uniform(tf.shape(images)[:1], seed) < 0.5
        # Of a row, the first so many pixels are reversed: all, or the first one, which changes nothing.
        reversed_pixels = tf.where(heads, images.shape[axis], 1)
        return tf.reverse_sequence(images, reversed_pixels, seq_axis=axis, batch_axis=0)

    return change


def crop(step: Crop, shape: Shape) -> Change:
    """A window at a random whole pixel of each image, padded with zeros."""
    height, width = step.size or shape[:2]
    highest = (shape[0] + 2 * step.padding - height, shape[1] + 2 * step.padding - width)

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[:1]
        corners = [
            tf.random.stateless_uniform(count, fold(seed, axis), 0, highest[axis] + 1, tf.int32) for axis in (0, 1)
        ]
        return _windows(images, step.padding, tf.stack(corners, axis=1), (height, width))

    return change


def resized_crop(step: ResizedCrop, shape: Shape) -> Change:
    """A window of random area, aspect ratio and place of each image, resampled to one size.

    The aspect ratio is drawn on a logarithmic scale from that part of its range at which a window of the drawn area
    fits into the image; where none does, the window is cut to the image. A window need not begin at a whole pixel.
    """
    height, width, _ = shape
    rows, columns = step.size or (height, width)

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        area, place_in_range, down, right = tf.unstack(tf.random.stateless_uniform([4, tf.shape(images)[0]], seed))
        area = step.area[0] + (step.area[1] - step.area[0]) * area
        narrowest = tf.maximum(step.ratio[0], area * width / height)
        widest = tf.maximum(tf.minimum(step.ratio[1], width / height / area), narrowest)
        ratio = narrowest * (widest / narrowest) ** place_in_range
        window_height = tf.minimum(tf.sqrt(area * height * width / ratio), height)
        window_width = tf.minimum(tf.sqrt(area * height * width * ratio), width)
        top, left = down * (height - window_height), right * (width - window_width)
        # The centre of the first pixel lies half a pixel from the window's corner, in the old pixels and the new.
        y, x, zero = window_height / rows, window_width / columns, tf.zeros_like(area)
        transforms = [x, zero, left + x / 2 - 0.5, zero, y, top + y / 2 - 0.5, zero, zero]
        return resampled(images, tf.stack(transforms, axis=1), (rows, columns), "NEAREST")

    return change


def _windows(images: tf.Tensor, padding: int, corners: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """The window of each image, padded with zeros, whose upper left corner is at (row, column) int32 [batch, 2]."""
    padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    _, height, width, channels = padded.shape
    count = tf.shape(images)[0]
    first = (tf.range(count) * height + corners[:, 0]) * width + corners[:, 1]
    within = tf.range(size[0])[:, tf.newaxis] * width + tf.range(size[1])
    return tf.gather(tf.reshape(padded, [-1, channels]), first[:, tf.newaxis, tf.newaxis] + within)
