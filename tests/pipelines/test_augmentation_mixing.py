"""MixUp and CutMix: images and labels are mixed by the same share."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.augmentation import make_augmentation
from pipelines.settings.augmentation import CutMix, MixUp

COUNT = 12


def mixed(step, seed, shape=(20, 30, 1)):
    """A batch of COUNT images, each of one grey that is its own, each of a class of its own; and their labels."""
    greys = np.arange(1, COUNT + 1, dtype=np.float32) * 10
    images = np.broadcast_to(greys[:, np.newaxis, np.newaxis, np.newaxis], (COUNT, *shape)).copy()
    augment = make_augmentation([step], shape, COUNT)
    labels = tf.range(COUNT, dtype=tf.int64)
    images, labels = augment(tf.constant(images), labels, labels * 0, tf.constant(seed, tf.int32))
    return greys, images.numpy(), labels.numpy()


def test_mixup_mixes_images_and_labels_by_one_share():
    shares = []
    for i in range(200):
        greys, images, labels = mixed(MixUp(step="mixup", alpha=1.0), (1, i), (2, 3, 1))
        # Of classes and greys alike, what label says of the mixture must hold for the pixels.
        np.testing.assert_allclose(
            images, np.broadcast_to((labels @ greys)[:, None, None, None], images.shape), rtol=1e-4
        )
        own = np.diag(labels)
        assert np.allclose(own[own < 1], own[own < 1][:1])  # one share a batch; who met itself has all
        np.testing.assert_allclose(labels.sum(axis=0), 1, atol=1e-5)  # everybody is somebody's other
        shares.append(own.min())
    # Beta(1, 1) is uniform.
    np.testing.assert_allclose(np.quantile(shares, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.1)


@pytest.mark.parametrize(("alpha", "variance"), [(0.2, 1 / 5.6), (1.0, 1 / 12), (8.0, 1 / 68)])
def test_shares_are_from_beta(alpha, variance):
    """Whose variance is 1 / (8 alpha + 4)."""
    shares = [np.diag(mixed(MixUp(step="mixup", alpha=alpha), (2, i), (1, 1, 1))[2]).min() for i in range(400)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.07)
    assert np.var(shares) == pytest.approx(variance, rel=0.2)


def test_cutmix_labels_are_the_covered_area():
    areas, touched = [], np.zeros((20, 30), bool)
    for i in range(200):
        greys, images, labels = mixed(CutMix(step="cutmix", alpha=1.0), (3, i))
        foreign = images[..., 0] != greys[:, np.newaxis, np.newaxis]
        mask = foreign.any(axis=0)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        assert not len(rows) or np.ptp(rows) + 1 == len(rows)
        for image, label, own, strange in zip(images, labels, range(COUNT), foreign, strict=True):
            assert label[own] == pytest.approx(1 - strange.mean(), abs=1e-5)
            assert not strange.any() or (strange == mask).all()  # one rectangle a batch; who met itself shows none
            if strange.any():
                (grey,) = np.unique(image[strange])
                assert label[int(grey / 10) - 1] == pytest.approx(strange.mean(), abs=1e-5)
        if mask.any():
            inside = not (mask[[0, -1]].any() or mask[:, [0, -1]].any())
            if inside and mask.mean() > 0.1:  # small ones are rounded to whole pixels
                assert len(rows) / 20 == pytest.approx(len(columns) / 30, abs=0.06)  # of the image's shape
        areas.append(mask.mean())
        touched |= mask
    assert touched.all()
    assert 0 <= min(areas) < 0.02
    assert max(areas) > 0.8


def test_a_batch_of_one_meets_itself():
    image = tf.random.stateless_uniform([1, 8, 8, 1], (1, 2))
    zero = tf.zeros([1], tf.int64)
    for step in (MixUp(step="mixup", alpha=1.0), CutMix(step="cutmix", alpha=1.0)):
        images, labels = make_augmentation([step], (8, 8, 1), 2)(image, zero, zero, tf.constant([1, 2]))
        np.testing.assert_allclose(images, image, rtol=1e-6)
        np.testing.assert_array_equal(labels, [[1, 0]])
