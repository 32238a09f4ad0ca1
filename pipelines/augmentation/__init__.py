"""Augmentation: random changes to training images, as a recipe lists them; never part of an exported network.

Every random number is a pure function of a seed that the caller derives from (run, epoch, step), so that a run's
images do not depend on how many threads prepare them. Keras's random layers cannot promise that: they draw from a
`SeedGenerator`, a variable that every call advances, so that inside `Dataset.map` the numbers depend on which thread
comes first, and after a resume on how many calls there were before; and they take no seed per call. Some are wrong
besides (tests/pipelines/test_keras_augmentation.py says which). So the steps are ours, on TensorFlow's stateless
random numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import tensorflow as tf

from pipelines.augmentation.change import Shape, fold
from pipelines.augmentation.limits import check_limits
from pipelines.augmentation.mixing import Mix, cutmix, mixup
from pipelines.augmentation.steps import make_changes, shape_after
from pipelines.augmentation.windows import SHIFTS, expanded
from pipelines.settings.augmentation import AugmentationStep, CutMix, MixUp, ShiftExpansion

__all__ = ["Augmentation", "make_augmentation"]

Transform = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Augmentation:
    """What is done to each batch of training images."""

    copies: int
    """Versions of each image in an epoch: 5 with `shift_expansion`, else 1."""
    soft_labels: bool
    """Whether labels come out as probabilities (MixUp, CutMix)."""
    input_shape: Shape
    """What the network receives, (height, width, channels): the image's own, or a crop's."""
    _transform: Transform = field(repr=False)

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, versions: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Changed images and their labels. It works in `Dataset.map` and inside a `tf.function`.

        Args:
            images: float32 [batch, height, width, channels], raw pixels 0…255.
            labels: int64 [batch].
            versions: int64 [batch], which of its `copies` each image is; 0 is the image itself.
            seed: int32 [2], on which alone all random numbers depend.

        Returns images float32 [batch, *input_shape]; and the labels as they came or, with `soft_labels`, as
        probabilities float32 [batch, classes].
        """
        return self._transform(images, labels, versions, seed)

    def evaluation_view(self, images: np.ndarray) -> np.ndarray:
        """What of images uint8 [count, height, width, channels] a network is shown that is not being trained.

        Where a crop changes the size, its centre (with zeros around it, where the crop is larger than the image);
        else the very same array.
        """
        for axis, side in ((1, self.input_shape[0]), (2, self.input_shape[1])):
            missing = side - images.shape[axis]
            if missing > 0:
                around = [(0, 0)] * images.ndim
                around[axis] = (missing // 2, missing - missing // 2)
                images = np.pad(images, around)
            elif missing < 0:
                images = images.take(range(-missing // 2, -missing // 2 + side), axis)
        return images


def make_augmentation(
    steps: Sequence[AugmentationStep],
    image_shape: tuple[int, ...],
    classes: int,
    training_images: np.ndarray | None = None,
) -> Augmentation:
    """The augmentation that a recipe's steps, in their order, make for images and labels of some classes.

    `image_shape` is (height, width, channels).

    `training_images` uint8 [count, *image_shape] are what `pca_colour` takes its colours from; without that step they
    are not looked at. Raises UsageError, which names the field, for steps that cannot be done to such images or not
    at their place.
    """
    height, width, channels = image_shape
    shape: Shape = (height, width, channels)
    check_limits(steps, shape)
    first, last = (steps[0], steps[-1]) if steps else (None, None)
    shift = first.pixels if isinstance(first, ShiftExpansion) else 0
    input_shape = reduce(lambda before, step: shape_after(step, before), steps, shape)
    mix: Mix | None = None
    if isinstance(last, MixUp):
        mix = mixup(last)
    elif isinstance(last, CutMix):
        mix = cutmix(last, input_shape)
    changes = make_changes(steps, shape, training_images)

    # Nothing in here needs AutoGraph, which would read all of it again for every run.
    @tf.autograph.experimental.do_not_convert
    def transform(
        images: tf.Tensor, labels: tf.Tensor, versions: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.ensure_shape(images, [None, *image_shape])
        if shift:
            images = expanded(images, versions, shift)
        for change in changes:
            images = change(images, seed)
        if mix:
            images, labels = mix(images, tf.one_hot(labels, classes), fold(seed, len(steps) - 1))
        return tf.ensure_shape(images, [None, *input_shape]), labels

    return Augmentation(len(SHIFTS) if shift else 1, mix is not None, input_shape, transform)
