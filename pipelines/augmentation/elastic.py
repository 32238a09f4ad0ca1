"""Elastic distortion (Simard, Steinkraus and Platt 2003, section 2)."""

import math

import numpy as np
import tensorflow as tf

from pipelines.augmentation.change import Change, Shape
from pipelines.settings.augmentation import Elastic

REACH = 3
"""Standard deviations at which the Gaussian ends."""


def elastic(step: Elastic, shape: Shape) -> Change:
    """Every pixel is read, bilinearly, where a smooth random field points; beyond the border lies zero."""
    height, width, channels = shape
    down_blur, right_blur = _blur(height, step.sigma), _blur(width, step.sigma)

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count = tf.shape(images)[0]
        down, right = tf.unstack(_fields(count, seed, down_blur, right_blur) * step.alpha)
        # One pixel beyond the border all is zero: there is no need to look farther.
        y = tf.clip_by_value(down + tf.range(height, dtype=tf.float32)[:, tf.newaxis], -1, height)
        x = tf.clip_by_value(right + tf.range(width, dtype=tf.float32), -1, width)
        above, left = tf.floor(y), tf.floor(x)
        lower, righter = (y - above)[..., tf.newaxis], (x - left)[..., tf.newaxis]
        padded = tf.pad(images, [[0, 0], [1, 2], [1, 2], [0, 0]])
        row = width + 3
        image = tf.range(count)[:, tf.newaxis, tf.newaxis] * (height + 3)
        corner = (image + tf.cast(above, tf.int32) + 1) * row + tf.cast(left, tf.int32) + 1
        flat = tf.reshape(padded, [-1, channels])
        a, b, c, d = (tf.gather(flat, corner + step) for step in (0, 1, row, row + 1))
        top, bottom = a + (b - a) * righter, c + (d - c) * righter
        return top + (bottom - top) * lower

    return change


def _fields(count: tf.Tensor, seed: tf.Tensor, down_blur: np.ndarray, right_blur: np.ndarray) -> tf.Tensor:
    """Blurred noise that was uniform from −1 to 1: float32 [2, count, height, width]."""
    (height, noisy_height), (width, noisy_width) = down_blur.shape, right_blur.shape
    values = noisy_height * count * 2 * noisy_width
    # The noise comes in 256 levels, four values of one random word: blurred, it is as smooth, and drawn four times as
    # fast.
    words = tf.random.stateless_uniform([-(-values // 4)], seed, None, None, tf.uint32)
    levels = tf.cast(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:values], tf.float32)
    # All rows of all fields stand side by side, so that each direction's blur is one matrix product.
    blurred = tf.matmul(down_blur, tf.reshape(levels, [noisy_height, count * 2 * noisy_width]))
    blurred = tf.matmul(tf.reshape(blurred, [height * count * 2, noisy_width]), right_blur, transpose_b=True)
    fields = tf.transpose(tf.reshape(blurred, [height, count, 2, width]), [2, 1, 0, 3])
    return fields / 127.5 - 1


def _blur(side: int, sigma: float) -> np.ndarray:
    """A Gaussian at each of `side` pixels: float32 [side, side + 2 · reach]; rows sum to 1.

    The noise reaches beyond the image by as much as the Gaussian does, so that the field is alike everywhere.
    """
    reach = math.ceil(REACH * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    rows = np.zeros((side, side + 2 * reach))
    for i in range(side):
        rows[i, i : i + len(weights)] = weights / weights.sum()
    return rows.astype(np.float32)
