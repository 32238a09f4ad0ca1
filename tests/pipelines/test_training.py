import numpy as np
import pytest

import zoo
from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, UsageError
from pipelines.training import build_network, fit, steps_per_epoch, training_batches


@pytest.fixture(scope="module")
def recipe(small_recipe):
    return small_recipe.override({"epochs": 2, "batch_size": 100})


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


def test_it_learns(recipe, data):
    fitted = fit(recipe.override({"epochs": 10}), data)
    losses = fitted.history["loss"]
    assert losses[-1] < losses[0] / 2
    assert set(fitted.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert fitted.validation_accuracy > 0.8
    # The last epoch's figure is that of the weights that the model has.
    right = fitted.model.predict(data.validation.images, verbose=0).argmax(axis=1) == data.validation.labels
    assert fitted.validation_accuracy == pytest.approx(right.mean(), abs=1e-6)


def test_the_same_seed_gives_the_same_numbers(recipe, data):
    """With dropout and augmentation on."""
    recipe = recipe.override({"augmentation": [{"step": "shift", "pixels": 2}]})
    first, again, other = (fit(r, data) for r in (recipe, recipe, recipe.override({"seed": 2})))
    assert first.history == again.history
    for a, b in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history != other.history


def test_each_epoch_has_every_image_at_most_once_in_an_order_of_its_own(recipe, data):
    steps = steps_per_epoch(recipe, data)
    assert steps == 11  # of 100 images; 37 of the 1,137 wait for another epoch
    batches = [images for images, _ in training_batches(recipe, data.train).as_numpy_iterator()]
    assert len(batches) == 2 * steps
    epochs = [[image.tobytes() for batch in part for image in batch] for part in (batches[:steps], batches[steps:])]
    known = {image.astype(np.float32).tobytes() for image in data.train.images}
    assert len(set(epochs[0])) == len(epochs[0]) == 1100
    assert set(epochs[0]) <= known
    assert epochs[0] != epochs[1]


def test_images_keep_their_labels(recipe, data):
    by_image = {
        image.astype(np.float32).tobytes(): label
        for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    for images, labels in training_batches(recipe, data.train).as_numpy_iterator():
        assert [by_image[image.tobytes()] for image in images] == labels.tolist()


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [1.0, 1.0, 1.0, 1.0]),
        ({"name": "cosine"}, [1.0, 0.5, 0.25, 0.0]),
        ({"name": "constant", "warmup_epochs": 2}, [0.0, 1.0, 1.0, 1.0]),
        ({"name": "cosine", "warmup_epochs": 2}, [0.0, 1.0, 0.75, 0.0]),
    ],
)
def test_schedules(recipe, data, schedule, expected):
    """At the start, and after a half, two thirds and all of four epochs; a cosine from its warm-up's end to zero."""
    recipe = recipe.override({"schedule": schedule, "epochs": 4, "optimizer.learning_rate": 1.0})
    from pipelines.training import _learning_rate

    steps = steps_per_epoch(recipe, data)
    rate = _learning_rate(recipe, steps)
    at = [0, 2 * steps, 4 * steps * 2 / 3, 4 * steps]
    rates = [float(rate(step)) if callable(rate) else rate for step in at]
    assert rates == pytest.approx(expected, abs=1e-3)


def test_a_loss_that_is_no_number_ends_the_run(recipe, data):
    recipe = recipe.override({"optimizer": {"name": "sgd", "learning_rate": 1e30}, "epochs": 5})
    with pytest.raises(PipelineError, match=r"became nan in epoch [1-4]; try a smaller optimizer\.learning_rate"):
        fit(recipe, data)


def test_network_takes_the_datasets_shape_and_the_recipes_precision(recipe, data):
    model = build_network(recipe.override({"precision": "mixed_bfloat16"}), data)
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"batch_size": 2000}, UsageError, "batch_size is 2000; digits has 1137"),
        ({"network.name": "mnist_cnn_relax"}, zoo.ZooError, "Unknown network 'mnist_cnn_relax'"),
        ({"network.arguments.units": 3}, zoo.ZooError, "no argument 'units'"),
        ({"network.arguments.filters": 3}, UsageError, "cannot be built with .*'filters': 3"),
        ({"network.arguments.dense_units": "abc"}, UsageError, "cannot be built with"),
        ({"network.arguments.activation": "foo"}, UsageError, "cannot be built with .*'foo'"),
        ({"network.arguments.dropout": "much"}, UsageError, "cannot be built with"),
        ({"network.arguments.pooling": ["max"]}, UsageError, "cannot be built with"),
        (
            {"network.arguments.filters": [0], "network.arguments.initialization": "paper"},
            UsageError,
            "cannot be built",
        ),
        ({"network.arguments.kernel_size": 0}, UsageError, "cannot be built"),
        ({"network.arguments.classes": 3}, UsageError, r"network\.arguments\.classes cannot be set"),
    ],
)
def test_impossible_recipe(recipe, data, values, error, says):
    with pytest.raises(error, match=says):
        fit(recipe.override(values), data)
