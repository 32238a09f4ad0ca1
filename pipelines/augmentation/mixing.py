"""Steps that mix each image of a batch, and its label, with another one: MixUp and CutMix."""

from collections.abc import Callable

import tensorflow as tf

from pipelines.augmentation.boxes import inside
from pipelines.augmentation.change import Shape, fold
from pipelines.settings.augmentation import CutMix, MixUp

Mix = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""From images, labels as probabilities float32 [batch, classes], and a seed to mixed images and labels."""


def mixup(step: MixUp) -> Mix:
    """λ of each image and label and 1 − λ of another's."""

    def mix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share, others = _beta(step.alpha, fold(seed, 0)), _others(images, fold(seed, 1))
        return _between(images, others, share), _between(labels, others, share)

    return mix


def cutmix(step: CutMix, shape: Shape) -> Mix:
    """A rectangle of each image from another one, and as much of its label as the rectangle covers."""
    height, width, _ = shape

    def mix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        share, others = _beta(step.alpha, fold(seed, 0)), _others(images, fold(seed, 1))
        rows = tf.cast(tf.round(height * tf.sqrt(1 - share)), tf.int32)
        columns = tf.cast(tf.round(width * tf.sqrt(1 - share)), tf.int32)
        top = tf.random.stateless_uniform([1], fold(seed, 2), 0, height, tf.int32) - rows // 2
        left = tf.random.stateless_uniform([1], fold(seed, 3), 0, width, tf.int32) - columns // 2
        kept = 1 - inside(top, left, top + rows, left + columns, shape)
        return _between(images, others, kept), _between(labels, others, tf.reduce_mean(kept))

    return mix


def _between(values: tf.Tensor, others: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return share * values + (1 - share) * tf.gather(values, others)


def _others(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Which image each is mixed with: a random order of the batch, int32 [batch]. A few meet themselves."""
    return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), seed)


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """A random number from Beta(alpha, alpha): float32, a scalar.

    It is a / (a + b) with a and b from Gamma(alpha). Where alpha is small, both are often too small for a float, but
    their logarithms are not: Gamma(alpha) is Gamma(alpha + 1) · u^(1/alpha), u uniform.
    """
    gammas = tf.random.stateless_gamma([2], fold(seed, 0), alpha + 1.0)
    uniform = 1 - tf.random.stateless_uniform([2], fold(seed, 1))  # without zero
    logarithms = tf.math.log(gammas) + tf.math.log(uniform) / alpha
    return tf.sigmoid(logarithms[0] - logarithms[1])
