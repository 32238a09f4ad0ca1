import keras
import numpy as np
import pytest

import zoo
from pipelines.batches import steps_per_epoch
from pipelines.datasets import Dataset, Split, load_dataset
from pipelines.errors import PipelineError, UsageError
from pipelines.losses import make_loss
from pipelines.recipes import load_recipe
from pipelines.training import build_network, fit


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


def test_a_loss_that_is_no_number_ends_the_run(recipe, data):
    # The squares of weights that large are beyond float32 whatever else happens to the network.
    sgd = {"name": "sgd", "learning_rate": 1e30}
    recipe = recipe.override({"optimizer": sgd, "regularization.l2": 1, "epochs": 5})
    with pytest.raises(PipelineError, match=r"became (inf|nan) in epoch 1; try a smaller optimizer\.learning_rate"):
        fit(recipe, data)


def test_network_takes_the_datasets_shape_and_the_recipes_precision(recipe, data):
    model = build_network(recipe.override({"precision": "mixed_bfloat16"}), data)
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


# Weights that this cannot move: what a run reports is then what its first weights give.
STILL = {"optimizer": {"name": "sgd", "learning_rate": 1e-20}, "epochs": 1}


def test_l2_is_the_text_s_share_of_each_mini_batch(recipe, data):
    """λ / (2 · mini-batches) · Σ w², of the kernels and not of the biases; validation is of the scores alone."""
    still = recipe.override(STILL)
    without, with_l2 = (fit(still.override({"regularization.l2": l2}), data) for l2 in (0.0, 0.7))
    weights = build_network(still, data).trainable_weights
    squares = sum(np.sum(np.square(weight)) for weight in weights if weight.ndim > 1)
    difference = with_l2.history["loss"][0] - without.history["loss"][0]
    assert difference == pytest.approx(0.7 / (2 * steps_per_epoch(still, data.train)) * squares, rel=1e-5)
    assert with_l2.history["val_loss"] == without.history["val_loss"]


def test_l2_keeps_weights_small_and_out_of_the_file(recipe, data, tmp_path):
    without, with_l2 = (fit(recipe.override({"regularization.l2": l2}), data).model for l2 in (0.0, 10.0))
    size = [np.sum(np.square(model.get_layer("dense1").kernel)) for model in (without, with_l2)]
    assert size[1] < 0.9 * size[0]
    with_l2.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("dense1").kernel_regularizer is None
    assert not loaded.losses


def test_the_quadratic_loss_trains_and_is_what_is_reported(recipe, data):
    history = fit(recipe.override({"loss": "quadratic", "epochs": 10}), data).history
    assert history["loss"][0] < 0.5  # a cross-entropy of ten classes would begin at 2.3
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.7


@pytest.fixture(scope="module")
def photographs():
    """Four shades of grey with noise, of the size that a small GoogLeNet with its auxiliary heads needs."""
    seed = 20_261_121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    labels = np.arange(24) % 4
    images = np.uint8(80 * labels)[:, None, None, None] + random.integers(0, 16, (24, 65, 65, 3), np.uint8)
    train, rest = Split(images[:16], labels[:16]), Split(images[16:], labels[16:])
    return Dataset("photographs", train, rest, rest, ("a", "b", "c", "d"), "")


@pytest.fixture(scope="module")
def heads_recipe(recipe):
    small = {"width": 1 / 16, "auxiliary_units": 8, "dropout": 0.0, "auxiliary_dropout": 0.0}
    small["initialization"] = "he_normal"
    return recipe.override({"network": {"name": "inception_v1", "arguments": small}, "batch_size": 8})


def test_auxiliary_heads_weigh_in_the_training_loss_and_nowhere_else(heads_recipe, photographs):
    still = heads_recipe.override(STILL)
    fitted = fit(still, photographs)
    network, loss = build_network(still, photographs), make_loss("crossentropy")
    scores, *auxiliary = network.predict(photographs.train.images, verbose=0)
    assert len(auxiliary) == 2
    labels = photographs.train.labels
    weighted = loss(labels, scores) + 0.3 * sum(loss(labels, head) for head in auxiliary)
    assert fitted.history["loss"] == [pytest.approx(float(weighted), rel=1e-5)]
    assert fitted.history["accuracy"] == [pytest.approx(np.mean(scores.argmax(axis=1) == labels))]
    assert set(fitted.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    # Validation, and the network that is kept, are of the main scores.
    rest = photographs.validation
    main = network.predict(rest.images, verbose=0)[0]
    assert fitted.history["val_loss"] == [pytest.approx(float(loss(rest.labels, main)), rel=1e-5)]
    assert len(fitted.model.outputs) == 1
    np.testing.assert_allclose(fitted.model.predict(rest.images, verbose=0), main, rtol=1e-4, atol=1e-6)


def test_auxiliary_heads_train_in_several_steps_a_call_and_in_half_precision(heads_recipe, photographs):
    recipe = heads_recipe.override(
        {"optimizer": {"name": "adam", "learning_rate": 3e-3}, "epochs": 20, "precision": "mixed_bfloat16"}
    )
    fitted = fit(recipe, photographs)
    losses = fitted.history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    assert fitted.model.output.dtype == "float32"
    assert fitted.model.get_layer("conv1").compute_dtype == "bfloat16"


def test_a_network_of_signals_learns():
    recipe = load_recipe("speech_conv1d").override({"epochs": 3, "network.arguments.filters": [8, 8]})
    fitted = fit(recipe, load_dataset("speech_clips"))
    assert fitted.validation_accuracy > 0.85


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"augmentation": [{"step": "shift", "pixels": 1}]}, UsageError, "'shift' is for images, and speech_clips has"),
        ({"network": {"name": "mnist_fc"}}, zoo.ZooError, "mnist_fc takes one image"),
        ({"dataset": {"name": "digits"}}, zoo.ZooError, "speech_conv1d takes one signal"),
    ],
)
def test_signals_and_images_are_not_mixed_up(values, error, says):
    recipe = load_recipe("speech_conv1d").override(values)
    with pytest.raises(error, match=says):
        fit(recipe, load_dataset(recipe.dataset.name))


ARGUMENT = (UsageError, zoo.ZooError)  # whether Keras or the zoo notices first


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
        (
            {"network": {"name": "alexnet_small", "arguments": {"filters": dict.fromkeys("abcde", 1)}}},
            UsageError,
            "alexnet_small cannot be built with .*: there is no 0",
        ),
        ({"network": {"name": "alexnet_small", "arguments": {"filters": []}}}, ARGUMENT, "filters"),
        ({"network": {"name": "alexnet_small", "arguments": {"filters": {"a": 1}}}}, ARGUMENT, "filters"),
        ({"network": {"name": "lenet5", "arguments": {"initialization": None}}}, ARGUMENT, "initiali"),
        ({"network.arguments.classes": 3}, UsageError, r"network\.arguments\.classes cannot be set"),
    ],
)
def test_impossible_recipe(recipe, data, values, error, says):
    with pytest.raises(error, match=says):
        fit(recipe.override(values), data)


@pytest.mark.parametrize(
    "complaint", [AttributeError("no attribute 'clone'"), IndexError("out of range"), ValueError()]
)
def test_whatever_python_says_of_an_argument_is_one_sentence(recipe, data, monkeypatch, complaint):
    def create_model(*args, **kwargs):
        raise complaint

    monkeypatch.setattr(zoo, "create_model", create_model)
    reason = str(complaint) or "ValueError"
    with pytest.raises(UsageError, match=f"mnist_cnn_dropout cannot be built with .*: {reason}"):
        build_network(recipe, data)
