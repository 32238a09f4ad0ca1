"""A split as the batches that training and validation see."""

import numpy as np
import tensorflow as tf

from pipelines.augmentation import Augmentation
from pipelines.datasets import Split
from pipelines.errors import UsageError
from pipelines.recipes import Recipe


def steps_per_epoch(recipe: Recipe, split: Split, copies: int = 1) -> int:
    """Full batches in so many versions of the training images. The rest waits for an order of another epoch.

    Raises UsageError for a batch larger than that.
    """
    if recipe.batch_size > copies * len(split):
        raise UsageError(
            f"batch_size is {recipe.batch_size}; {recipe.dataset.name} has {copies * len(split)} training images."
        )
    return copies * len(split) // recipe.batch_size


def training_batches(
    recipe: Recipe, split: Split, augmentation: Augmentation | None, first_epoch: int = 0
) -> tf.data.Dataset:
    """The batches of all epochs from `first_epoch` on, in one stream: (images or signals float32 [batch, …], labels).

    Order and augmentation are functions of (seed, epoch, step) alone, whatever the number of threads and wherever the
    stream begins. Labels are int64 [batch]; float32 [batch, classes] where the augmentation mixes them.
    """
    images, labels = _tensors(split.images, split.labels)
    count = len(split)
    copies = augmentation.copies if augmentation else 1
    fold = tf.random.experimental.stateless_fold_in
    shuffle = tf.random.experimental.stateless_shuffle
    run_seed = tf.constant([recipe.seed, 0], tf.int32)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = fold(run_seed, epoch)
        order = tf.range(copies * count)
        if recipe.shuffle != "never":
            order = shuffle(order, epoch_seed if recipe.shuffle == "each_epoch" else run_seed)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch_size, drop_remainder=True)
        return batches.enumerate(start=1).map(lambda step, chosen: (fold(epoch_seed, step), chosen))

    def prepare(seed: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = chosen % count
        batch, batch_labels = tf.cast(tf.gather(images, index), tf.float32), tf.gather(labels, index)
        if augmentation is None:
            return batch, batch_labels
        return augmentation(batch, batch_labels, tf.cast(chosen // count, tf.int64), seed)

    seeds_and_indices = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(one_epoch)
    batches = seeds_and_indices.map(prepare, num_parallel_calls=2).prefetch(8)
    return _without_autotune(batches)


def validation_batches(split: Split, classes: int | None = None) -> tf.data.Dataset:
    """A split as it is; its labels as probabilities [batch, classes] where `classes` is given."""
    whole = tf.data.Dataset.from_tensor_slices(_tensors(split.images, split.labels))
    batches = whole.batch(split.evaluation_batch)
    if classes is not None:
        batches = batches.map(lambda image, label: (image, tf.one_hot(label, classes)))
    return _without_autotune(batches)


def _tensors(*arrays: np.ndarray) -> tuple[tf.Tensor, ...]:
    with tf.device("CPU"):  # a dataset may be larger than a GPU's memory, and is read on the CPU
        return tuple(tf.constant(array) for array in arrays)


def _without_autotune(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Autotune's thread is waited for whenever an iterator goes: a tenth of a second an epoch, seconds at the end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
