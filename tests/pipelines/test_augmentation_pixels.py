"""Elastic distortion, PCA colour and cutout, by their effect on constructed images."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter, map_coordinates

from pipelines.augmentation import make_augmentation
from pipelines.settings.augmentation import Cutout, Elastic, PCAColour


def augmented(step, images, seed=(5, 6), training_images=None):
    labels = tf.zeros(len(images), tf.int64)
    augment = make_augmentation([step], images.shape[1:], 10, training_images)
    return augment(tf.constant(images), labels, labels, tf.constant(seed, tf.int32))[0].numpy()


def displacements(alpha, sigma, count=64, seed=(5, 6)):
    """By how far each pixel was displaced, down and right: [count, 40, 40, 2]; no number where it is from outside.

    Read off images whose first two channels say where a pixel is; the third is white, so that the border shows.
    """
    row, column = np.mgrid[:40, :40].astype(np.float32)
    images = np.repeat(np.stack([row, column, np.full_like(row, 255)], axis=-1)[np.newaxis], count, axis=0)
    result = augmented(Elastic(step="elastic", alpha=alpha, sigma=sigma), images, seed)
    return np.where(result[..., 2:] > 254.99, result[..., :2] - images[..., :2], np.nan)


@pytest.mark.parametrize(("alpha", "sigma"), [(34, 4), (8, 1.5)])
def test_elastic_displacements_have_the_strength_and_smoothness_of_the_formula(alpha, sigma):
    moved = displacements(alpha, sigma)
    strength = np.sqrt(np.nanmean(moved**2, axis=(0, 1, 2)))
    np.testing.assert_allclose(strength, alpha / (2 * sigma * np.sqrt(3 * np.pi)), rtol=0.08)
    inner = moved[:, 10:30, 10:30]
    # Noise blurred by a Gaussian correlates over d pixels as exp(−d² / 4σ²).
    for d in (1, 4):
        correlation = np.nanmean(inner[:, d:] * inner[:, :-d]) / np.nanmean(inner**2)
        assert correlation == pytest.approx(np.exp(-(d**2) / (4 * sigma**2)), abs=0.06)
    assert abs(np.nanmean(inner[..., 0] * inner[..., 1])) < 0.1 * np.nanmean(inner**2)
    near, far = np.nanmean(moved[:, 3:8] ** 2), np.nanmean(inner**2)
    assert near == pytest.approx(far, rel=0.25)  # as strong near the border as inside


def test_every_image_has_an_elastic_field_of_its_own():
    moved = displacements(34, 4, count=200)[:, 20, 20]
    assert abs(np.corrcoef(moved[:-1, 0], moved[1:, 0])[0, 1]) < 0.25
    assert len(np.unique(moved[:, 0])) == 200


def test_pixels_are_read_bilinearly_where_the_field_points():
    """Against scipy's interpolation, on noise, with the field that the slopes show."""
    noise = np.random.default_rng(2).random((3, 40, 40, 1)).astype(np.float32) * 255
    step = Elastic(step="elastic", alpha=20, sigma=3)
    moved = displacements(20, 3, count=3)
    result = augmented(step, noise)
    places = np.mgrid[:40, :40] + np.moveaxis(moved, -1, 1)
    for image, answer, place in zip(noise, result, places, strict=True):
        known = ~np.isnan(place).any(axis=0)
        assert known.mean() > 0.8
        read = map_coordinates(image[..., 0], np.nan_to_num(place), order=1)
        np.testing.assert_allclose(answer[..., 0][known], read[known], atol=0.05)


def test_beyond_the_border_elastic_finds_zero():
    white = np.full((64, 20, 20, 1), 255, np.float32)
    result = augmented(Elastic(step="elastic", alpha=34, sigma=4), white)
    assert result.min() == 0
    assert result.max() == 255
    np.testing.assert_allclose(result[:, 8:12, 8:12], 255, atol=1e-3)


def test_elastic_with_next_to_no_strength_changes_nothing():
    images = np.random.default_rng(2).random((4, 28, 28, 1)).astype(np.float32) * 255
    np.testing.assert_allclose(augmented(Elastic(step="elastic", alpha=1e-6, sigma=4), images), images, atol=1e-3)


def photographs(count=40):
    """Noise with colours that go together: bright ones are bright in all three channels."""
    rng = np.random.default_rng(7)
    light = gaussian_filter(rng.normal(0, 300, (count, 32, 32)), (0, 3, 3))[..., np.newaxis]
    return np.clip(128 + light * [1.0, 0.8, 0.6] + rng.normal(0, 10, (count, 32, 32, 3)), 0, 255).astype(np.uint8)


def test_pca_colour_adds_one_colour_an_image_along_the_components():
    training = photographs()
    images = np.zeros((4000, 2, 3, 3), np.float32) + 100
    added = augmented(PCAColour(step="pca_colour", deviation=0.2), images, training_images=training) - images
    assert np.ptp(added, axis=(1, 2)).max() < 1e-3
    covariance = np.cov(training.reshape(-1, 3).T.astype(float))
    # Components times N(0, d) times the standard deviation along them: a colour whose covariance is d² the pixels'.
    np.testing.assert_allclose(np.cov(added[:, 0, 0].T), 0.2**2 * covariance, rtol=0.15)
    np.testing.assert_allclose(added[:, 0, 0].mean(axis=0), 0, atol=1)


def test_pca_colour_needs_training_images():
    with pytest.raises(ValueError, match="takes its colours from the training images"):
        augmented(PCAColour(step="pca_colour"), np.zeros((2, 8, 8, 3), np.float32))


@pytest.mark.parametrize(("size", "fill"), [(5, 0), (4, 0), (1, 117.5), (12, 0)])
def test_cutout_covers_a_square_around_any_pixel(size, fill):
    height, width = 12, 15
    images = np.random.default_rng(3).uniform(1, 255, (3000, height, width, 3)).astype(np.float32)
    result = augmented(Cutout(step="cutout", size=size, fill=fill), images)
    covered = (result == fill).all(axis=-1)
    np.testing.assert_array_equal(result[~covered], images[~covered])
    squares = set()
    for row in range(height):
        for column in range(width):
            top, left = row - size // 2, column - size // 2
            square = np.zeros((height, width), bool)
            square[max(top, 0) : top + size, max(left, 0) : left + size] = True
            squares.add(square.tobytes())
    assert {mask.tobytes() for mask in covered} == squares
