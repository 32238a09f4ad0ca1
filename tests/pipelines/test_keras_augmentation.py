"""Where Keras's augmentation layers are wrong, and why ours are in their place.

Each test fails on the day that Keras is right; what it says then may be deleted with it.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

NOISE = np.random.default_rng(1).uniform(0, 255, (8, 28, 28, 1)).astype(np.float32)
ELASTIC = {"factor": (1.0, 1.0), "scale": (0.5, 1.0), "fill_mode": "constant", "seed": 1}
GREYS = np.arange(1, 9, dtype=np.float32)[:, None, None, None] * np.full((28, 28, 1), 25, np.float32)


def test_random_elastic_transform_makes_every_image_of_a_mapped_batch_the_first_one():
    layer = keras.layers.RandomElasticTransform(**ELASTIC)
    assert [image[14, 14, 0] for image in layer(GREYS, training=True).numpy()] == pytest.approx(GREYS[:, 0, 0, 0])
    # The size of a batch is unknown while a dataset or a model is built, and is taken to be one.
    batches = tf.data.Dataset.from_tensor_slices(GREYS).batch(8).map(lambda images: layer(images, training=True))
    (mapped,) = batches.as_numpy_iterator()
    assert (mapped[:, 14, 14, 0] == mapped[0, 14, 14, 0]).all(), (
        "keras.layers.RandomElasticTransform keeps images apart now; strike that from docs/augmentation.md."
    )


def test_random_elastic_transform_moves_pixels_along_the_diagonal_only():
    row, column = np.mgrid[:28, :28].astype(np.float32)
    places = np.stack([row, column], axis=-1)[np.newaxis]
    moved = keras.layers.RandomElasticTransform(**ELASTIC, value_range=(-1000, 1000))(places, training=True) - places
    down, right = np.moveaxis(moved[0, 10:18, 10:18].numpy(), -1, 0)
    inside = (np.abs(down) < 9) & (np.abs(right) < 9)
    assert inside.sum() > 5
    assert np.abs(down).max() > 0.1
    np.testing.assert_allclose(
        down[inside],
        right[inside],
        atol=1e-3,
        err_msg="keras.layers.RandomElasticTransform draws two fields now; strike that from docs/augmentation.md.",
    )


def test_random_crop_cuts_one_window_for_a_whole_batch():
    same = np.repeat(NOISE[:1], 64, axis=0)
    crops = keras.layers.RandomCrop(20, 20, seed=1)(same, training=True).numpy()
    assert len({crop.tobytes() for crop in crops}) == 1, (
        "keras.layers.RandomCrop cuts a window for each image now; strike it from docs/augmentation.md."
    )


def test_equalization_takes_one_histogram_for_a_whole_batch():
    layer = keras.layers.Equalization()
    alone = layer(NOISE[:1], training=True).numpy()
    beside_dark_ones = layer(np.concatenate([NOISE[:1], NOISE[1:] / 10]), training=True).numpy()[:1]
    assert np.abs(alone - beside_dark_ones).max() > 50, (
        "keras.layers.Equalization looks at each image by itself now; strike it from docs/augmentation.md."
    )
    # What it gives, RandAugment hands on.
    assert isinstance(keras.layers.RandAugment().equalization, keras.layers.Equalization)


def test_random_layers_in_a_parallel_map_do_not_repeat_themselves():
    def mapped(threads):
        layer = keras.layers.RandomTranslation(0.2, 0.2, seed=3)
        numbers = tf.data.Dataset.range(200).map(lambda _: layer(tf.constant(NOISE), training=True), threads)
        return np.stack(list(numbers.as_numpy_iterator()))

    expected = mapped(1)
    np.testing.assert_array_equal(mapped(1), expected)
    # Which thread is first is up to chance: that eight always agree with one is what would be new.
    assert any((mapped(8) != expected).any() for _ in range(20)), (
        "Keras's random layers repeat themselves in parallel now: see whether they can take the place of "
        "pipelines/augmentation."
    )


def test_random_layers_take_no_seed_for_a_call():
    """With one they could be made to repeat themselves: a function of (seed, epoch, step)."""
    layer = keras.layers.RandomFlip(seed=1)
    with pytest.raises(ValueError, match="must be either an integer or an instance of `SeedGenerator`"):
        layer.get_random_transformation(tf.constant(NOISE), training=True, seed=tf.constant([1, 2]))
