"""`dataset.validation: 0`: all training images are trained on, and nothing is decided by validation."""

import json

import numpy as np
import pytest

from pipelines.datasets import load_dataset
from pipelines.ensembling import make_ensemble
from pipelines.errors import UsageError
from pipelines.evaluation.sources import find_source
from pipelines.figures.curves import learning_curves
from pipelines.recipes import load_recipe
from pipelines.references import find_reference
from pipelines.results_table import append_runs, read_rows
from pipelines.subjects import find_subject
from pipelines.tracking import find_run, track, validation_accuracy
from pipelines.training import build_network, examples, fit, load_for
from serving.artifact import read_lineage

NONE = {"dataset.validation": 0}


@pytest.fixture(scope="module")
def recipe(small_recipe):
    return small_recipe.override({**NONE, "epochs": 2})


@pytest.fixture
def trained(store, zoo_command):
    """A run by `zoo train`; (id, standard output, standard error)."""
    changed = {"network.arguments.filters": [8, 12], "network.arguments.dense_units": [32], "augmentation": []}
    settings = [part for name, value in changed.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    status, out, err = zoo_command(
        "train", "digits_cnn", "--set", "dataset.validation=0", "--set", "epochs=2", *settings
    )
    assert status == 0, err
    return next(line.split()[-1] for line in out.splitlines() if line.startswith("run ")), out, err


def test_from_training_to_a_served_version(trained, recipe, zoo_command, monkeypatch, tmp_path):
    run_id, out, err = trained
    assert f"zoo publish {run_id[:8]}" in out
    assert "validation" not in err
    run = find_run(run_id)
    assert run.info.status == "FINISHED"
    assert {"loss", "accuracy", "test_accuracy"} <= run.data.metrics.keys()
    assert [name for name in run.data.metrics if name.startswith("val")] == []
    assert validation_accuracy(run, recipe) is None

    monkeypatch.setattr("pipelines.cli.evaluate.SECONDS", 0.1)
    status, out, err = zoo_command("evaluate", run_id, "--output", tmp_path / "out", "--json")
    assert status == 0, err
    assert json.loads(out)["accuracy"] == run.data.metrics["test_accuracy"]
    page = (tmp_path / "out" / "test.html").read_text("utf-8")
    assert "Learning curves" in page
    status, out, err = zoo_command("evaluate", run_id, "--split", "validation")
    assert (status, out) == (2, "")
    (error,) = [line for line in err.splitlines() if line.startswith("Error:")]
    assert "digits_cnn holds no images out for validation (dataset.validation is 0)" in error

    status, out, err = zoo_command("draw", run_id, "--output", tmp_path / "drawn", "--json")
    assert status == 0, err
    guesses = json.loads(out)["pictures"]["guesses"]
    assert guesses["input"] == "training set of digits"
    assert (tmp_path / "drawn" / "guesses.png").read_bytes().startswith(b"\x89PNG")

    status, out, err = zoo_command("publish", run_id)  # which asks the export in a fresh process
    assert status == 0, err
    assert "digits_cnn version 1, candidate" in out
    folder = tmp_path / "home" / "models" / "digits_cnn" / "1"
    assert read_lineage(folder)["run_id"] == run_id
    assert read_lineage(folder)["validation"] is None  # the gate has nothing to go by

    monkeypatch.setitem(run.data.tags, "zoo.git_changed", "false")
    (row,) = append_runs([run], tmp_path / "results.csv")
    assert row.validation_accuracy is None
    assert read_rows(tmp_path / "results.csv") == [row]
    (result,) = json.loads(zoo_command("results", "--table", tmp_path / "results.csv", "--json")[1])
    assert result["best"] is None
    assert zoo_command("results", "--table", tmp_path / "results.csv")[0] == 0
    assert zoo_command("results", "--table", tmp_path / "results.csv", "--markdown")[0] == 0


def test_all_training_images_are_trained_on(recipe):
    all_of_them, usual = load_dataset("digits", validation=0), load_dataset("digits")
    assert all_of_them.validation.images.shape == (0, 28, 28, 1)
    assert all_of_them.input_shape == (28, 28, 1)
    together = np.concatenate([usual.train.images, usual.validation.images])
    np.testing.assert_array_equal(all_of_them.train.images, together)
    np.testing.assert_array_equal(all_of_them.test.images, usual.test.images)
    assert all_of_them.digest != usual.digest
    fitted = fit(recipe.override({"batch_size": 1437, "epochs": 1}), all_of_them)  # more than the usual 1,137
    assert set(fitted.history) == {"loss", "accuracy"}
    assert fitted.validation_accuracy is None


def test_signals_too():
    data = load_dataset("speech_clips", validation=0)
    assert data.validation.images.shape == (0, *data.input_shape)
    tiny = {**NONE, "epochs": 1, "batch_size": 500, "network.arguments.filters": [4, 4]}
    recipe = load_recipe("speech_conv1d").override(tiny)
    assert set(fit(recipe, data).history) == {"loss", "accuracy"}
    assert examples(recipe, data) is data.train


def test_mixed_labels_and_a_resumed_run(recipe, tmp_path):
    recipe = recipe.override({"augmentation": [{"step": "mixup", "alpha": 0.2}], "epochs": 3})
    data = load_dataset("digits", validation=0)
    whole = fit(recipe, data)
    fit(recipe, data, checkpoint=tmp_path / "state.npz", until=1)
    assert fit(recipe, data, checkpoint=tmp_path / "state.npz").history == whole.history


@pytest.mark.parametrize(
    ("values", "needs"),
    [
        ({"keep": "best"}, "keep: best"),
        ({"early_stopping": {"patience": 2}}, "early_stopping"),
        ({"early_stopping": {"patience": 2, "metric": "val_loss"}}, "early_stopping"),
        ({"schedule": {"name": "plateau", "patience": 2}}, "schedule: plateau"),
    ],
)
def test_what_needs_validation_is_refused_when_the_recipe_is_read(zoo_command, values, needs):
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    status, out, err = zoo_command("train", "digits_cnn", "--set", "dataset.validation=0", *settings)
    assert (status, out) == (2, "")
    (error,) = [line for line in err.splitlines() if line.startswith("Error:")]
    assert f"The recipe digits_cnn holds no images out for validation (dataset.validation is 0), which {needs}" in error
    load_recipe("digits_cnn").override(values)  # with validation, nothing is wrong with it


def test_of_several_seeds_without_validation_the_first_is_proposed(zoo_command, monkeypatch):
    """A better test accuracy chooses nothing."""
    from pipelines.cli.train import Outcome

    outcomes = iter([Outcome("1" * 32, 1, None, 0.9), Outcome("2" * 32, 2, None, 0.99)])
    monkeypatch.setattr("pipelines.cli.train._outcome", lambda recipe, resume: next(outcomes))
    status, out, _ = zoo_command("train", "digits_cnn", "--seeds", 2, "--set", "dataset.validation=0")
    assert status == 0
    assert "zoo publish 11111111" in out


def test_crops_are_looked_at_as_the_network_is_shown_them(recipe):
    """What lies before the network's eyes is the centre of a training image, in its own size."""
    cropped = recipe.override({"augmentation": [{"step": "crop", "size": [20, 20]}]})
    data = load_for(cropped)
    assert data.input_shape == (20, 20, 1)
    seen = examples(cropped, data)
    np.testing.assert_array_equal(seen.images, data.train.images[:, 4:24, 4:24])
    np.testing.assert_array_equal(seen.labels, data.train.labels)
    with_validation = load_for(cropped.override({"dataset.validation": 100}))
    assert examples(cropped, with_validation) is with_validation.validation


@pytest.mark.usefixtures("store")
def test_runs_without_validation_vote(recipe):
    data = load_dataset("digits", validation=0)
    ids = []
    for seed in (1, 2):
        of_seed = recipe.override({"seed": seed})
        with track(of_seed, "train") as run:
            run.log_dataset(data)
            run.log_model(build_network(of_seed, data))
        ids.append(run.id)
    steps = []
    made = make_ensemble([find_run(run_id) for run_id in ids], on_step=steps.append)
    assert made.validation_accuracy is None
    assert steps == ["load", "test", "keep"]
    metrics = find_run(made.run_id).data.metrics
    assert {"test_accuracy", "parameters"} <= metrics.keys()
    assert [name for name in metrics if name.startswith("val")] == []
    with pytest.raises(UsageError, match="holds no images out for validation"):
        find_source(made.run_id, "validation")
    subject = find_subject(find_reference(ids[0]))
    training = {image.tobytes() for image in data.train.images}
    assert {image.astype(np.uint8).tobytes() for image in (*subject.shown, *subject.measured)} <= training
    assert "training set of digits" in subject.source


def test_a_file_is_evaluated_by_a_recipe_without_validation(recipe, tmp_path):
    network = build_network(recipe, load_dataset("digits"))
    network.save(tmp_path / "mine.keras")
    own = tmp_path / "own.yaml"
    own.write_text(recipe.override({"search": {}}).to_yaml())
    source = find_source(str(tmp_path / "mine.keras"), "test", recipe=str(own))
    assert len(source.split) == 360
    with pytest.raises(UsageError, match="holds no images out for validation"):
        find_source(str(tmp_path / "mine.keras"), "validation", recipe=str(own))


def test_curves_of_training_alone():
    figure = learning_curves({"loss": [2.0, 1.0], "accuracy": [0.5, 0.6]}, "mine")
    for axes in figure.axes:
        assert [line.get_label() for line in axes.lines] == ["training"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training"]
