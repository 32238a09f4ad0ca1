"""What every step of an augmentation is made into."""

from collections.abc import Callable

import tensorflow as tf

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From (images float32 [batch, height, width, channels], seed int32 [2]) to changed images."""
Shape = tuple[int, int, int]
"""Height, width and channels of an image."""


def fold(seed: tf.Tensor, place: int) -> tf.Tensor:
    """A seed of its own, int32 [2], for each place that random numbers are drawn at."""
    return tf.random.experimental.stateless_fold_in(seed, place)
