"""From a recipe's steps to what is done to images, in order."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import tensorflow as tf

from pipelines.augmentation.affine import AFFINE, fused
from pipelines.augmentation.boxes import cutout
from pipelines.augmentation.change import Change, Shape, fold
from pipelines.augmentation.colour import pca_colour
from pipelines.augmentation.elastic import elastic
from pipelines.augmentation.windows import crop, flip, resized_crop
from pipelines.settings.augmentation import (
    AugmentationStep,
    Crop,
    Cutout,
    Elastic,
    Flip,
    PCAColour,
    ResizedCrop,
)


def make_changes(
    steps: Sequence[AugmentationStep], image_shape: Shape, training_images: np.ndarray | None
) -> list[Change]:
    """What the steps do to a batch of images, adjacent affine ones as one; shift expansion and mixing are not here."""
    changes, shape = [], image_shape
    for is_affine, group in groupby(enumerate(steps), lambda placed: isinstance(placed[1], AFFINE)):
        if is_affine:
            changes.append(fused([(i, step) for i, step in group if isinstance(step, AFFINE)], shape))
            continue
        for i, step in group:
            change = _change(step, shape, training_images)
            if change:
                changes.append(_with_own_seed(change, i))
            shape = shape_after(step, shape)
    return changes


def shape_after(step: AugmentationStep, shape: Shape) -> Shape:
    """The shape of images, of this shape before, after a step."""
    if isinstance(step, Crop | ResizedCrop) and step.size:
        return (*step.size, shape[2])
    return shape


def _change(step: AugmentationStep, shape: Shape, training_images: np.ndarray | None) -> Change | None:
    match step:
        case Flip():
            return flip(step)
        case Crop():
            return crop(step, shape)
        case ResizedCrop():
            return resized_crop(step, shape)
        case Elastic():
            return elastic(step, shape)
        case PCAColour():
            if training_images is None:
                raise ValueError("pca_colour takes its colours from the training images; received none.")
            return pca_colour(step, training_images)
        case Cutout():
            return cutout(step, shape)
        case _:
            return None


def _with_own_seed(change: Change, place: int) -> Change:
    def seeded(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return change(images, fold(seed, place))

    return seeded
