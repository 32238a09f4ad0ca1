"""Shift expansion, flips and crops, pixel by pixel."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.augmentation import make_augmentation
from pipelines.settings.augmentation import Crop, Flip, ResizedCrop, ShiftExpansion

HEIGHT, WIDTH = 10, 13


def numbered(count=400, height=HEIGHT, width=WIDTH, channels=2):
    """Images of which every pixel says where it is: its row and its column, counted from 1."""
    row, column = np.mgrid[1 : height + 1, 1 : width + 1].astype(np.float32)
    return np.repeat(np.stack([row, column][:channels], axis=-1)[np.newaxis], count, axis=0)


def augmented(step, images, versions=None, seed=(5, 6)):
    labels = tf.zeros(len(images), tf.int64)
    versions = labels if versions is None else tf.constant(versions)
    augment = make_augmentation([step], images.shape[1:], 10)
    return augment(tf.constant(images), labels, versions, tf.constant(seed, tf.int32))[0].numpy()


@pytest.mark.parametrize("pixels", [1, 3])
def test_the_five_versions_are_the_image_and_its_four_shifts(pixels):
    image = np.random.default_rng(1).integers(1, 256, (HEIGHT, WIDTH, 1)).astype(np.float32)
    versions = np.array([3, 0, 2, 4, 1, 0])
    up, down, left, right = (np.roll(image, shift, axis) for axis in (0, 1) for shift in (-pixels, pixels))
    up[-pixels:], down[:pixels], left[:, -pixels:], right[:, :pixels] = 0, 0, 0, 0
    expected = np.stack([image, up, down, left, right])[versions]
    step = ShiftExpansion(step="shift_expansion", pixels=pixels)
    np.testing.assert_array_equal(augmented(step, np.repeat(image[np.newaxis], 6, axis=0), versions), expected)


@pytest.mark.parametrize(("axis", "mirror"), [("horizontal", np.s_[:, :, ::-1]), ("vertical", np.s_[:, ::-1])])
def test_half_of_the_images_are_exact_mirrors(axis, mirror):
    images = numbered()
    result = augmented(Flip(step="flip", axis=axis), images)
    same = (result == images).all(axis=(1, 2, 3))
    mirrored = (result == images[mirror]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < same.sum() < 250


@pytest.mark.parametrize(("padding", "size"), [(2, None), (0, (6, 9)), (3, (12, 7)), (2, (14, 17))])
def test_a_crop_is_a_window_of_the_padded_image_wherever_it_can_be(padding, size):
    images = numbered(1500)
    result = augmented(Crop(step="crop", padding=padding, size=size), images)
    padded = np.pad(images[0], [(padding, padding), (padding, padding), (0, 0)])
    rows, columns = size or (HEIGHT, WIDTH)
    windows = {
        padded[i : i + rows, j : j + columns].tobytes(): (i, j)
        for i in range(len(padded) - rows + 1)
        for j in range(padded.shape[1] - columns + 1)
    }
    found = [windows[image.tobytes()] for image in result]
    assert set(found) == set(windows.values())


def test_a_resized_crop_has_the_area_and_ratio_that_were_asked_for():
    """Read off the numbered pixels: neighbours in the crop lie this far apart in the image."""
    step = ResizedCrop(step="resized_crop", area=(0.2, 0.6), ratio=(0.5, 2.0), size=(30, 40))
    result = augmented(step, numbered(height=60, width=80))
    assert result.shape == (400, 30, 40, 2)
    # In the middle, for the outermost pixels of a window may be those of the image's border.
    height = 30 * (result[:, 16, 20, 0] - result[:, 15, 20, 0])
    width = 40 * (result[:, 15, 21, 1] - result[:, 15, 20, 1])
    area, ratio = height * width / (60 * 80), width / height
    assert 0.199 < area.min() < 0.23
    assert 0.57 < area.max() < 0.601
    assert 0.499 < ratio.min() < 0.6
    assert 1.7 < ratio.max() < 2.01
    assert abs(np.log(ratio).mean()) < 0.15
    # The windows lie inside and reach all borders.
    top = result[:, 15, 20, 0] - 15.5 * height / 30 - 0.5
    left = result[:, 15, 20, 1] - 20.5 * width / 40 - 0.5
    for start, length, whole in ((top, height, 60), (left, width, 80)):
        assert -0.01 < start.min() < 1
        assert whole - 1 < (start + length).max() < whole + 0.01


def test_a_resized_crop_of_everything_is_the_image():
    step = ResizedCrop(step="resized_crop", area=(1.0, 1.0), ratio=(WIDTH / HEIGHT, WIDTH / HEIGHT))
    np.testing.assert_allclose(augmented(step, numbered()), numbered(), atol=1e-4)


def test_a_resized_crop_shows_nothing_from_beyond_the_border():
    white = np.full((200, 9, 12, 1), 255, np.float32)
    step = ResizedCrop(step="resized_crop", ratio=(0.1, 10.0))
    np.testing.assert_allclose(augmented(step, white), 255, atol=1e-3)
