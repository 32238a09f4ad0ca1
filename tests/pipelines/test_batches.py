import numpy as np
import pytest

from pipelines.batches import steps_per_epoch, training_batches, validation_batches
from pipelines.datasets import load_dataset
from pipelines.training import augmentation_of


@pytest.fixture(scope="module")
def recipe(small_recipe):
    return small_recipe.override({"epochs": 2, "batch_size": 100})


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


def epochs_of(recipe, data, first_epoch=0):
    """Each epoch's images, in their order, as bytes; and the labels beside them."""
    augmentation = augmentation_of(recipe, data)
    steps = steps_per_epoch(recipe, data.train, augmentation.copies if augmentation else 1)
    batches = list(training_batches(recipe, data.train, augmentation, first_epoch).as_numpy_iterator())
    assert len(batches) == (recipe.epochs - first_epoch) * steps
    parts = [batches[start : start + steps] for start in range(0, len(batches), steps)]
    return [[image.tobytes() for images, _ in part for image in images] for part in parts]


def test_each_epoch_has_every_image_at_most_once_in_an_order_of_its_own(recipe, data):
    assert steps_per_epoch(recipe, data.train) == 11  # of 100 images; 37 of the 1,137 wait for another epoch
    epochs = epochs_of(recipe, data)
    known = {image.astype(np.float32).tobytes() for image in data.train.images}
    assert len(set(epochs[0])) == len(epochs[0]) == 1100
    assert set(epochs[0]) <= known
    assert epochs[0] != epochs[1]


def test_never_shuffled_is_the_order_of_the_dataset(recipe, data):
    file = [image.astype(np.float32).tobytes() for image in data.train.images[:1100]]
    assert epochs_of(recipe.override({"shuffle": "never"}), data) == [file, file]


def test_shuffled_once_is_one_order_for_all_epochs(recipe, data):
    first, second = epochs_of(recipe.override({"shuffle": "once"}), data)
    assert first == second
    assert first != epochs_of(recipe.override({"shuffle": "never"}), data)[0]
    assert first != epochs_of(recipe.override({"shuffle": "once", "seed": 2}), data)[0]


@pytest.mark.parametrize("augmentation", [[], [{"step": "elastic", "alpha": 20, "sigma": 4}]], ids=["plain", "elastic"])
def test_a_stream_that_begins_later_goes_on_as_the_whole_one(recipe, data, augmentation):
    recipe = recipe.override({"epochs": 3, "augmentation": augmentation})
    assert epochs_of(recipe, data, first_epoch=1) == epochs_of(recipe, data)[1:]


def test_an_expanded_set_has_five_versions_of_each_image(recipe, data):
    recipe = recipe.override({"augmentation": [{"step": "shift_expansion", "pixels": 1}], "epochs": 1})
    (epoch,) = epochs_of(recipe, data)
    assert len(epoch) == 5600  # of 5,685
    first = data.train.images[0].astype(np.float32)
    shifted = {first.tobytes()}
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        moved = np.roll(first, by, axis)
        moved[(0 if by > 0 else -1, slice(None)) if axis == 0 else (slice(None), 0 if by > 0 else -1)] = 0
        shifted.add(moved.tobytes())
    assert len(shifted & set(epoch)) >= 4  # all five, or one of them waits for another epoch
    assert len(set(epoch)) > 5500


def test_images_keep_their_labels(recipe, data):
    by_image = {
        image.astype(np.float32).tobytes(): label
        for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    for images, labels in training_batches(recipe, data.train, None).as_numpy_iterator():
        assert [by_image[image.tobytes()] for image in images] == labels.tolist()


def test_validation_is_the_split_as_it_is(data):
    images, labels = (np.concatenate(part) for part in zip(*validation_batches(data.validation), strict=True))
    np.testing.assert_array_equal(images, data.validation.images)
    np.testing.assert_array_equal(labels, data.validation.labels)
    soft = np.concatenate([labels for _, labels in validation_batches(data.validation, 10)])
    np.testing.assert_array_equal(soft, np.eye(10)[data.validation.labels])
