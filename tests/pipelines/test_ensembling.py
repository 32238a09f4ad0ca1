"""An ensemble of tracked runs: made, evaluated, published."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.datasets import load_dataset
from pipelines.ensembling import find_members, make_ensemble
from pipelines.errors import UsageError
from pipelines.networks import network_of
from pipelines.publication import publish
from pipelines.recipes import load_recipe
from pipelines.tracking import find_run, recipe_of, track
from pipelines.training import build_network
from serving.artifact import read_lineage

TINY = {"network.arguments.filters": [4, 4], "network.arguments.dense_units": [8]}


def tracked(recipe, data, kind="train"):
    """A finished run that kept the recipe's network, untrained; its id."""
    with track(recipe, kind) as run:
        run.log_dataset(data)
        run.log_metrics({"test_accuracy": 0.5})
        run.log_model(build_network(recipe, data))
    return run.id


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setattr("pipelines.cli.evaluate.SECONDS", 0.1)


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("digits_cnn").override(TINY)


@pytest.fixture
def runs(store, recipe, data):
    """Runs of the seeds 1, 2, 3."""
    return [tracked(recipe.override({"seed": seed}), data) for seed in (1, 2, 3)]


def test_from_runs_to_a_served_version(runs, data, zoo_command):
    status, out, err = zoo_command("ensemble", "digits_cnn", "--seeds", 3, "--vote", "majority", "--json")
    assert status == 0, err
    made = json.loads(out)
    assert made["name"] == "digits_cnn_ensemble"
    assert [member["run_id"] for member in made["members"]] == runs

    run = find_run("digits_cnn_ensemble", "ensemble")
    assert run.info.run_id == made["run_id"]
    assert (run.data.tags["zoo.members"].split(), run.data.tags["zoo.vote"]) == (runs, "majority")
    assert run.data.metrics["test_accuracy"] == made["test_accuracy"]
    assert run.data.metrics["val_accuracy"] == made["validation_accuracy"]
    assert {"test_accuracy_low", "operations", "parameters"} <= run.data.metrics.keys()
    kept = recipe_of(run)
    assert kept.network == recipe_of(find_run(runs[0])).network
    assert all(f"seed {seed} (run {runs[seed - 1][:8]})" in kept.description for seed in (1, 2, 3))

    ensemble = network_of(run)
    images, labels = data.test.images[:50], data.test.labels
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(ensemble.predict(images, verbose=0)))
    accuracy = np.mean(ensemble.predict(data.test.images, verbose=0).argmax(axis=1) == labels)
    assert made["test_accuracy"] == pytest.approx(accuracy)
    assert len(set(expected.argmax(axis=1))) > 1  # or equal answers would mean little

    release = publish(run)  # which asks all three signatures in a fresh process
    assert (release.name, release.version, release.label) == ("digits_cnn_ensemble", 1, "candidate")
    lineage = read_lineage(release.folder)
    assert (lineage["members"], lineage["vote"]) == (runs, "majority")
    served = tf.saved_model.load(release.folder).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(served["probabilities"].numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(served["class_id"].numpy(), expected.argmax(axis=1))


def test_an_ensemble_is_evaluated_like_a_run(runs, data, zoo_command, tmp_path):
    made = make_ensemble(find_members(runs), "mean", "trio")
    status, out, err = zoo_command("evaluate", "trio", "--split", "validation", "--output", tmp_path / "out", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["accuracy"] == pytest.approx(made.validation_accuracy)
    assert found["recorded"]["accuracy"] == made.validation_accuracy
    members = [network_of(find_run(run)) for run in runs]
    assert found["parameters"] == sum(member.count_params() for member in members)
    page = (tmp_path / "out" / "validation.html").read_text("utf-8")
    assert "mean of 3 networks" in page
    assert runs[2] in page


def test_the_latest_run_of_each_seed_is_taken(runs, recipe, data):
    again = tracked(recipe.override({"seed": 2}), data)
    tracked(recipe.override({"seed": 1}), data, kind="trial")  # which is no training run
    assert [run.info.run_id for run in find_members(["digits_cnn"], 3)] == [runs[0], again, runs[2]]
    assert [run.info.run_id for run in find_members(["digits_cnn"], 2)] == [again, runs[2]]


def test_what_makes_no_ensemble(runs, recipe, data):
    for references, seeds, sentence in (
        (["digits_cnn"], None, "at least two members, and 'digits_cnn' is one run"),
        ([runs[0], runs[0][:8]], None, f"'{runs[0][:8]}' is run {runs[0][:8]}, which is a member already"),
        (["digits_cnn"], 4, "finished runs of 3 seeds and not of 4; run zoo train digits_cnn --seeds 4 first"),
        (["digits_cnn", runs[0]], 2, "--seeds chooses among the runs of one recipe"),
        (["nothing", runs[0]], None, "There is no run 'nothing'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            find_members(references, seeds)

    pair = find_members(runs[:2])
    with pytest.raises(UsageError, match="--name lenet5 is a recipe's"):
        make_ensemble(pair, name="lenet5")
    with pytest.raises(UsageError, match=r"bad field 'name'.* received 'a b'"):
        make_ensemble(pair, name="a b")
    other = tracked(recipe.override({"name": "another"}), data)
    with pytest.raises(UsageError, match="of the recipes another, digits_cnn; name the ensemble with --name"):
        make_ensemble(find_members([runs[0], other]))
    smaller = recipe.override({"dataset.validation": 100})
    changed = tracked(smaller, load_dataset("digits", validation=100))
    with pytest.raises(UsageError, match=f"trained on one dataset; run {runs[0][:8]}'s has the digest"):
        make_ensemble(find_members([runs[0], changed]))
    with pytest.raises(UsageError, match="There is no run 'digits_cnn_ensemble'"):
        find_run("digits_cnn_ensemble")  # nothing of all this left a run


def test_an_ensemble_is_no_member(runs):
    made = make_ensemble(find_members(runs[:2]))
    with pytest.raises(UsageError, match="is no train run but ensemble"):
        find_members([made.run_id, runs[0]])
