"""What follows from a run's past: which weights are kept, when it ends, and going on after an interruption."""

import contextlib
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from pipelines.checkpoints import read_state
from pipelines.course import Course, since_best
from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, UsageError
from pipelines.settings.training import EarlyStopping
from pipelines.training import fit

# With all that is random in a run switched on.
AUGMENTATION = [{"step": "rotation", "degrees": 10}, {"step": "elastic", "alpha": 20, "sigma": 4}]


@pytest.fixture(scope="module")
def recipe(small_recipe):
    values = {"epochs": 4, "batch_size": 100, "augmentation": AUGMENTATION, "network.arguments.dropout": 0.3}
    return small_recipe.override(values)


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


def course(recipe, accuracies):
    found = Course(recipe, None)
    found.history = {"loss": [1.0] * len(accuracies), "val_accuracy": accuracies}
    return found


def test_the_best_epoch_is_the_latest_of_the_best(recipe):
    """As network3.py has it: `if validation_accuracy >= best_validation_accuracy`."""
    best = recipe.override({"keep": "best"})
    assert course(best, [0.5, 0.9, 0.7, 0.9, 0.8]).kept_epoch == 3
    assert course(recipe, [0.5, 0.9, 0.7, 0.9, 0.8]).kept_epoch == 4


def test_best_weights_are_those_of_the_best_epoch(recipe, data):
    # The rate rises until nothing is left of what was learned.
    wild = {"schedule": {"name": "steps", "epochs": [2], "factors": [200.0]}, "keep": "best"}
    fitted = fit(recipe.override(wild), data)
    accuracies = fitted.history["val_accuracy"]
    assert max(accuracies[2:]) < accuracies[1]
    assert fitted.epoch == 1
    assert fitted.validation_accuracy == accuracies[1]
    right = fitted.model.predict(data.validation.images, verbose=0).argmax(axis=1) == data.validation.labels
    assert right.mean() == pytest.approx(accuracies[1], abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "values", "min_delta", "expected"),
    [
        ("val_accuracy", [0.5, 0.6, 0.7], 0, 0),
        ("val_accuracy", [0.5, 0.7, 0.7, 0.6], 0, 2),
        ("val_accuracy", [0.5, 0.7, 0.75, 0.79], 0.1, 2),
        ("val_loss", [0.5, 0.4, 0.45], 0, 1),
        ("val_loss", [0.5, 0.4, 0.3], 0, 0),
    ],
)
def test_epochs_since_the_best(metric, values, min_delta, expected):
    assert since_best({metric: values}, EarlyStopping(patience=9, metric=metric, min_delta=min_delta)) == expected


def test_early_stopping_ends_the_run(recipe, data):
    patient = {"early_stopping": {"patience": 2, "min_delta": 0.9}, "epochs": 30, "augmentation": []}
    assert len(fit(recipe.override(patient), data).history["loss"]) == 3


def test_a_plateau_lowers_the_rate_of_later_epochs(recipe, data):
    """With the rate at next to nothing after the first epoch that is no better, the weights stand still."""
    plateau = {"name": "plateau", "patience": 1, "factor": 1e-20}
    sgd = {"name": "sgd", "learning_rate": 1e-9}  # no epoch is better than the first
    seen = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    fit(recipe.override({"schedule": plateau, "optimizer": sgd, "augmentation": []}), data, [Rates()])
    assert seen == pytest.approx([1e-9, 1e-9, 1e-29, 0.0])


class Interruption(keras.callbacks.Callback):
    """Ends training in the middle of an epoch, from 0."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise KeyboardInterrupt


RESUMED = {
    "cosine": {},
    "best": {"keep": "best", "shuffle": "once"},
    "plateau": {"schedule": {"name": "plateau", "patience": 1}, "optimizer": {"name": "sgd", "learning_rate": 0.1}},
    "momentum": {"optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}, "shuffle": "never"},
    "mixed": {"augmentation": [{"step": "mixup", "alpha": 0.2}], "precision": "mixed_bfloat16"},
    "scaled loss": {"precision": "mixed_float16"},
    "unscaled dropout": {"network.arguments.dropout_kind": "unscaled", "early_stopping": {"patience": 3}},
}


@pytest.mark.parametrize("values", RESUMED.values(), ids=RESUMED.keys())
def test_a_run_that_goes_on_ends_as_if_it_had_not_been_interrupted(recipe, data, values, tmp_path):
    recipe = recipe.override(values)
    whole = fit(recipe, data)
    checkpoint = tmp_path / "state.npz"
    for epoch in (0, 2):  # before there is a checkpoint, and after
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, data, [Interruption(epoch)], checkpoint=checkpoint)
    assert len(read_state(checkpoint).history["loss"]) == 2
    resumed = fit(recipe, data, checkpoint=checkpoint)
    assert resumed.history == whole.history
    assert resumed.epoch == whole.epoch
    for ours, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    again = fit(recipe, data, checkpoint=checkpoint)  # of a finished run: nothing is left to do
    assert again.history == whole.history
    np.testing.assert_array_equal(again.model.get_weights()[0], whole.model.get_weights()[0])


@pytest.mark.parametrize("kind", ["cosine", "best", "plateau", "unscaled dropout"])
def test_a_run_in_parts_is_the_run_in_one(recipe, data, kind, tmp_path):
    """With dropout, augmentation and a cosine; each part ends as if the run went on."""
    recipe = recipe.override(RESUMED[kind])
    whole = fit(recipe, data)
    checkpoint = tmp_path / "state.npz"
    for until in (1, 1, 3):
        part = fit(recipe, data, checkpoint=checkpoint, until=until)
        assert part.history == {name: values[:until] for name, values in whole.history.items()}
        assert read_state(checkpoint).history == part.history
    last = fit(recipe, data, checkpoint=checkpoint, until=9)  # the recipe has four
    assert (last.history, last.epoch) == (whole.history, whole.epoch)
    for ours, expected in zip(last.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    # What is done already is not undone.
    assert fit(recipe, data, checkpoint=checkpoint, until=2).history == whole.history


def test_a_part_counts_its_own_epochs(recipe, data):
    """For whoever shows the progress."""
    seen = []

    class Total(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.params["epochs"])

    fit(recipe.override({"augmentation": []}), data, [Total()], until=2)
    assert seen == [2]
    with pytest.raises(UsageError, match="cannot end after 0 epochs"):
        fit(recipe, data, until=0)


def test_a_checkpoint_of_another_network_is_refused(recipe, data, tmp_path):
    checkpoint = tmp_path / "state.npz"
    fit(recipe.override({"epochs": 1}), data, checkpoint=checkpoint)
    with pytest.raises(PipelineError, match=r"state\.npz is of another network than the recipe's; delete it"):
        fit(recipe.override({"network.arguments.filters": [3, 3]}), data, checkpoint=checkpoint)


def test_a_broken_checkpoint_is_refused(recipe, data, tmp_path):
    checkpoint = tmp_path / "state.npz"
    checkpoint.write_bytes(b"PK no archive")
    with pytest.raises(PipelineError, match=r"state\.npz cannot be read .*; delete it and train anew"):
        fit(recipe, data, checkpoint=checkpoint)


MIRRORED = """
import sys
from serving.quiet import import_tensorflow
import_tensorflow()
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pipelines.datasets import load_dataset
from pipelines.recipes import recipe_from_yaml
from pipelines.training import fit
from pipelines import training
recipe = recipe_from_yaml(sys.stdin.read(), "of the test")
training._gpus = lambda: [cpu]  # as where there are GPUs: XLA is for one of them alone
data = load_dataset("digits")
both = fit(recipe, data, devices=["CPU:0", "CPU:1"])
again = fit(recipe, data, devices=["CPU:0", "CPU:1"])
assert both.history == again.history, "dropout is random, and the same for a seed"
training._gpus = list
recipe = recipe.override({"network.arguments.dropout": 0.0})
both, one = (fit(recipe, data, devices=devices) for devices in (["CPU:0", "CPU:1"], []))
print("both", both.history["loss"], "one", one.history["loss"])
a, b = (fitted.history["loss"][-1] for fitted in (both, one))
assert abs(a - b) < 0.02 * b, "the devices share a batch, so that they learn what one would"
both.model.save(sys.argv[1])
"""


def test_several_devices_share_each_batch(recipe, tmp_path):
    plain = {"augmentation": [], "epochs": 2, "regularization.decay": 0.5}
    run = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(tmp_path / "model.keras")],
        input=recipe.override(plain).to_yaml(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    assert keras.saving.load_model(tmp_path / "model.keras").input.name == "image"


def test_an_interruption_that_gets_lost_is_noticed(recipe, data):
    """As where the exception is raised inside a finalizer: Python prints it and goes on."""
    from pipelines import interruption

    class Swallowed(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                with contextlib.suppress(KeyboardInterrupt):
                    os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    interruption.listen()
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, data, [Swallowed()])
    finally:
        interruption.listen()
        for number, handler in before.items():
            signal.signal(number, handler)
