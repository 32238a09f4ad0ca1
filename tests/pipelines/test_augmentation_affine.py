"""Shift, rotation, scale and shear: where they put a spot, and that adjacent ones are one resampling."""

import numpy as np
import tensorflow as tf

from pipelines.augmentation import make_augmentation
from pipelines.settings.augmentation import Flip, Rotation, Scale, Shear, Shift

SEED = tf.constant([1, 2], tf.int32)
SHIFT = Shift(step="shift", pixels=3)
ROTATION = Rotation(step="rotation", degrees=30)
SCALE = Scale(step="scale", factor=0.3)
SHEAR = Shear(step="shear", degrees=30)


def blobs(count=64, size=33):
    """A soft bright spot right of the centre of each image."""
    y, x = np.mgrid[:size, :size]
    spot = 255 * np.exp(-((x - 22) ** 2 + (y - 16) ** 2) / 8)
    return np.repeat(spot[np.newaxis, ..., np.newaxis], count, axis=0).astype(np.float32)


def centres(images):
    """The centre of brightness of each image, relative to the image's: (right, down) in pixels."""
    size = images.shape[1]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    weights = images[..., 0] / images[..., 0].sum(axis=(1, 2), keepdims=True)
    return np.stack([(weights * x).sum(axis=(1, 2)), (weights * y).sum(axis=(1, 2))], axis=1)


def augmented(steps, images=None):
    images = tf.constant(blobs() if images is None else images)
    zeros = tf.zeros(len(images), tf.int64)
    return make_augmentation(steps, images.shape[1:], 10)(images, zeros, zeros, SEED)[0].numpy()


def test_shift_moves_both_ways_and_not_farther_than_told():
    moved = centres(augmented([SHIFT])) - [6, 0]
    assert np.abs(moved).max() <= 3.01
    assert (moved.min(axis=0) < -2).all()
    assert (moved.max(axis=0) > 2).all()


def test_rotation_turns_about_the_centre():
    right, down = centres(augmented([ROTATION])).T
    np.testing.assert_allclose(np.hypot(right, down), 6, atol=0.05)
    angles = np.degrees(np.arctan2(down, right))
    assert -30.1 < angles.min() < -20
    assert 20 < angles.max() < 30.1


def test_scale_enlarges_and_shrinks_by_the_factor():
    right, down = centres(augmented([SCALE])).T
    np.testing.assert_allclose(down, 0, atol=0.05)
    assert 0.69 * 6 < right.min() < 0.8 * 6
    assert 1.2 * 6 < right.max() < 1.31 * 6


def test_shear_slants_rows_and_leaves_the_middle_one():
    images = blobs()
    np.testing.assert_allclose(centres(augmented([SHEAR]))[:, 0], 6, atol=0.1)
    low = np.roll(images, 8, axis=1)  # eight rows below the centre
    moved = centres(augmented([SHEAR], low))
    np.testing.assert_allclose(moved[:, 1], 8, atol=0.1)
    slants = np.degrees(np.arctan((moved[:, 0] - 6) / 8))
    assert -30.5 < slants.min() < -20
    assert 20 < slants.max() < 30.5


def test_steps_apply_in_their_order():
    """Turned and then shifted, a centre stays within the shift of the circle; shifted first, it leaves it."""
    turn = Rotation(step="rotation", degrees=180)
    move = Shift(step="shift", pixels=4)
    centred = np.roll(blobs(256), -6, axis=2)
    last = centres(augmented([turn, move], centred))
    assert np.abs(last).max() <= 4.05  # a square of shifts
    first = centres(augmented([move, turn], centred))
    assert np.abs(first).max() > 4.3  # the square turned: its corners reach 5.7


def test_what_comes_in_from_outside_is_background():
    bright = np.full((32, 28, 28, 1), 255, np.float32)
    moved = augmented([SHIFT], bright)
    assert moved.min() == 0
    assert moved.max() == 255


def resamplings(steps):
    images, zeros = tf.zeros([2, 28, 28, 1]), tf.zeros([2], tf.int64)
    augment = make_augmentation(steps, (28, 28, 1), 10)
    operations = tf.function(lambda seed: augment(images, zeros, zeros, seed)).get_concrete_function(SEED).graph
    return sum(operation.type == "ImageProjectiveTransformV3" for operation in operations.get_operations())


def test_adjacent_steps_are_one_resampling():
    flip = Flip(step="flip", axis="horizontal")
    assert resamplings([ROTATION, SCALE, SHEAR, SHIFT]) == 1
    assert resamplings([ROTATION, SCALE, flip, SHEAR, SHIFT]) == 2
    assert resamplings([flip]) == 0


def test_one_resampling_blurs_less_than_two():
    """The same small shifts as one resampling, and with a flip between that leaves these images as they are."""
    images = blobs()[:, :, ::-1] + blobs()
    sharp = np.where(images > 128, 255, 0).astype(np.float32)
    small = Shift(step="shift", pixels=0.5)
    flip = Flip(step="flip", axis="horizontal")

    def sharpness(steps):
        return np.mean(np.abs(augmented(steps, sharp) - 127.5))

    assert sharpness([small, small]) > sharpness([small, flip, small]) + 0.1
