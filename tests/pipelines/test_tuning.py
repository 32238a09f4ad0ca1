"""Searches in one process, from the recipe to the winner."""

from dataclasses import replace

import mlflow
import numpy as np
import pytest

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, Stopped, UsageError
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, search_runs, tracking_uri
from pipelines.training import Fitted
from pipelines.tuning.plan import ALGORITHMS, Plan, interrupted_search
from pipelines.tuning.search import search

pytestmark = pytest.mark.usefixtures("store")
FIELDS = {
    "optimizer.learning_rate": {"min": 1e-3, "max": 1e-2, "sampling": "log"},
    "network.arguments.filters": {"choices": [[2], [4], [4, 6]]},
    "batch_size": {"min": 100, "max": 200, "step": 50},
}


class Listener:
    """Writes down what a search tells."""

    def __init__(self):
        self.told, self.epochs = [], []

    def recall(self, trials):
        self.told += [("recall", trial.number) for trial in trials]

    def begin(self, trial):
        self.told.append(("begin", trial.number))

    def epoch(self, trial, epoch, epochs, metrics):
        self.epochs.append((trial.number, epoch, epochs))

    def end(self, trial):
        self.told.append(("end", trial.number))


@pytest.fixture
def recipe(small_recipe):
    return small_recipe.override({"epochs": 1, "batch_size": 100, "search": FIELDS})


@pytest.fixture
def untrained(monkeypatch):
    """Trials without training: the objective is the learning rate's."""

    def fit(recipe, data, callbacks, *, checkpoint, until):
        curve = [recipe.optimizer.learning_rate * (epoch + 1) / until for epoch in range(until)]
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        checkpoint.write_bytes(b"state")
        return Fitted(None, dict.fromkeys(names, curve))

    monkeypatch.setattr("pipelines.tuning.runner.fit", fit)
    monkeypatch.setattr("keras.backend.clear_session", lambda: None)  # nothing to clear, which takes its time


def test_a_search_is_a_run_with_its_trials_nested_and_a_winner_to_train(recipe):
    listener = Listener()
    found = search(recipe, Plan(trials=3), listener)
    assert listener.told == [(what, number) for number in range(3) for what in ("begin", "end")]
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert found.best.objective == max(trial.objective for trial in found.trials)

    first = found.trials[0]
    assert first.settings["optimizer.learning_rate"] == recipe.optimizer.learning_rate
    assert find_run(first.run_id).data.params["network.arguments.filters"] == "[8, 12]"  # outside its own choices

    for trial in found.trials:
        run = find_run(trial.run_id)
        assert run.data.tags["mlflow.parentRunId"] == found.run_id
        assert run.data.tags["zoo.trial"] == str(trial.number)
        assert run.data.metrics["val_accuracy"] == pytest.approx(trial.objective)
        assert run.data.metrics["objective"] == trial.objective
        assert run.data.params["batch_size"] == str(trial.settings["batch_size"])
        assert "test_accuracy" not in run.data.metrics  # validation decides
    for trial in found.trials[1:]:
        assert trial.settings["network.arguments.filters"] in ([2], [4], [4, 6])
        assert trial.settings["batch_size"] in (100, 150, 200)
        assert 1e-3 <= trial.settings["optimizer.learning_rate"] <= 1e-2

    parent = find_run(found.run_id)
    assert parent.data.tags["zoo.kind"] == "search"
    assert parent.data.metrics["val_accuracy"] == pytest.approx(found.best.objective)
    files = {item.path for item in connect().list_artifacts(found.run_id)}
    assert {"winner.yaml", "trials.json", "objective_over_trials.png", "parallel_coordinates.png"} <= files
    winner = load_recipe(str(found.winner_file))
    assert winner == found.winner
    assert winner.name == recipe.name
    assert winner.network.arguments["filters"] == found.best.settings["network.arguments.filters"]


def test_mlflow_lists_every_trial_by_its_settings_also_one_that_failed(recipe):
    """As a user of MLflow asks for them."""
    steep = {"optimizer.learning_rate": {"choices": [1e-3, 1e30]}, "batch_size": [50, 100]}
    diverges = recipe.override({"optimizer.name": "sgd", "epochs": 2, "search": steep})
    found = search(diverges, Plan("grid", trials=5), Listener())
    mlflow.set_tracking_uri(tracking_uri())
    frame = mlflow.search_runs(
        search_all_experiments=True, filter_string=f"tags.`mlflow.parentRunId` = '{found.run_id}'"
    )
    assert sorted(frame["tags.zoo.trial"].astype(int)) == [0, 1, 2, 3, 4]
    for name in steep:
        assert frame[f"params.{name}"].notna().all()
    failed = frame[frame["status"] == "FAILED"]
    assert len(failed) == 2
    assert failed["tags.zoo.error"].str.contains("smaller optimizer.learning_rate").all()
    assert set(failed["params.optimizer.learning_rate"]) == {"1e+30"}
    finished = frame[frame["status"] == "FINISHED"]
    assert len(finished) == 3
    assert np.isfinite(finished["metrics.objective"]).all()
    assert find_run(found.run_id).data.metrics["failed_trials"] == 2


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_seed_decides_the_settings(recipe, algorithm):
    """Zero included, which Keras Tuner itself takes for "no seed"."""
    many = recipe.override({"epochs": 9})
    first, again, other = (
        [trial.settings for trial in search(many, Plan(algorithm, 5, seed=seed), Listener()).trials]
        for seed in (0, 0, 1)
    )
    assert len(first) == 5
    assert first == again
    assert first != other


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_the_best_is_the_largest_or_the_smallest(recipe, algorithm, objective):
    many = recipe.override({"epochs": 9, "search": {name: FIELDS[name] for name in list(FIELDS)[:1]}})
    found = search(many, Plan(algorithm, 5, objective), Listener())
    best = max if objective == "val_accuracy" else min
    assert found.best.objective == best(trial.objective for trial in found.trials)
    assert find_run(found.run_id).data.metrics[objective] == found.best.objective


@pytest.mark.usefixtures("untrained")
def test_no_checkpoint_is_left(recipe):
    from pipelines.tuning.plan import SearchFolder

    found = search(recipe.override({"epochs": 9}), Plan("hyperband", 12), Listener())
    assert any(trial.goes_on_with is not None for trial in found.trials)
    assert not list(SearchFolder(found.run_id).path.rglob("*.npz"))


def test_hyperband_goes_on_with_the_weights_of_the_best(recipe):
    """Bit for bit as the same settings without a stop between."""
    found = search(recipe.override({"epochs": 3}), Plan("hyperband", 5), Listener())
    promoted = [trial for trial in found.trials if trial.goes_on_with is not None]
    assert promoted
    for trial in promoted:
        past = found.trials[trial.goes_on_with]
        assert trial.settings == past.settings
        assert trial.epochs > past.epochs
        assert trial.history["loss"][: past.epochs] == past.history["loss"]
        curve = connect().get_metric_history(trial.run_id, "val_accuracy")
        assert [metric.value for metric in sorted(curve, key=lambda m: m.step)] == trial.history["val_accuracy"]
        assert find_run(trial.run_id).data.tags["zoo.goes_on_with"] == past.run_id


def test_a_search_in_which_all_fails_says_why(recipe):
    hopeless = recipe.override(
        {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30, "epochs": 2, "search": {"batch_size": [50, 100]}}
    )
    with pytest.raises(PipelineError, match=r"Each of the 2 trials failed.*smaller optimizer.learning_rate"):
        search(hopeless, Plan(trials=2), Listener())
    assert {run.info.status for run in search_runs()} == {"FAILED"}


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_space_smaller_than_the_number_of_trials_is_searched_once(recipe, algorithm):
    small = recipe.override({"epochs": 9, "search": {"network.arguments.filters": [[2], [3]]}})
    found = search(small, Plan(algorithm, 12), Listener())
    tried = [trial.settings["network.arguments.filters"] for trial in found.trials if trial.goes_on_with is None]
    assert sorted(tried) == [[2], [3], [8, 12]]
    assert max(trial.epochs for trial in found.trials) == small.epochs


@pytest.mark.usefixtures("untrained")
def test_a_bayesian_search_comes_to_what_is_good(recipe):
    """Of a hundred and one rates the best are found, where the objective is the rate itself."""
    rates = {"optimizer.learning_rate": {"min": 0.0001, "max": 0.0101, "step": 0.0001}}
    found = search(recipe.override({"search": rates}), Plan("bayesian", 8), Listener())
    assert found.best.objective == pytest.approx(0.0101)


def test_of_equal_epochs_the_latest_is_the_best(recipe, monkeypatch):
    curve = [0.5, 0.9, 0.8, 0.9]
    monkeypatch.setattr("pipelines.tuning.runner.fit", lambda *a, **k: Fitted(None, {"val_accuracy": curve}))
    found = search(recipe.override({"epochs": 4}), Plan(trials=1), Listener())
    assert (found.best.objective, found.best.best_epoch) == (0.9, 4)


@pytest.mark.usefixtures("untrained")
def test_data_that_changed_since_the_interruption(recipe, monkeypatch):
    def stopped(job):
        raise Stopped("The store went away.")

    with pytest.raises(Stopped):
        search(recipe, Plan(), Listener(), conduct=stopped)
    (run,) = search_runs()
    assert run.info.status == "KILLED"
    journal = interrupted_search(recipe, "", tracking_uri())
    other = replace(load_dataset("digits"), digest="f" * 64)
    monkeypatch.setattr("pipelines.tuning.search.load_dataset", lambda **options: other)
    with pytest.raises(PipelineError, match="interrupted on other data than today's digits"):
        search(recipe, Plan(), Listener(), resume=journal)


@pytest.mark.usefixtures("untrained")
def test_a_recipe_that_leaves_arguments_to_the_network_can_win(monkeypatch):
    """Trial 0 names the network's own values, and is the recipe nevertheless."""
    plain = load_recipe("digits_cnn").override({"network.arguments": {}, "epochs": 2})
    plain = plain.override({"search": {"network.arguments.dropout": [0.1, 0.2]}})
    told = []

    def confirm(run, recipe, winner, *others):
        told.append(recipe.flat() == winner.flat())
        raise PipelineError("Enough.")

    monkeypatch.setattr("pipelines.tuning.search.confirm", confirm)
    found = search(plain, Plan(trials=1), Listener(), seeds=2)
    assert told == [True]
    assert found.problem == "Enough."
    assert find_run(found.run_id).info.status == "FINISHED"


def test_a_trial_ends_when_it_gets_no_better(recipe):
    frozen = recipe.override({"epochs": 9, "optimizer.learning_rate": 1e-12, "search": {"batch_size": [50, 100]}})
    found = search(frozen, Plan(trials=1, patience=2), Listener())
    assert found.trials[0].epochs == 3


@pytest.mark.usefixtures("untrained")
def test_no_trial_begins_after_the_time_limit(recipe):
    with pytest.raises(PipelineError, match="No trial began before the time limit"):
        search(recipe, Plan(trials=2), Listener(), minutes=0)


@pytest.mark.parametrize(
    ("plan", "changes", "said"),
    [
        (Plan(), {"search": {}}, "no search: block"),
        (Plan(trials=0), {}, "one trial or more; received 0"),
        (Plan("fortune"), {}, "no algorithm 'fortune'; expected random"),
        (Plan(objective="f1"), {}, "No epoch has the metric 'f1'; the objective is one of val_accuracy"),
        (Plan(objective="test_accuracy"), {}, "no choice rests on test images"),
        (Plan(), {"dataset.validation": 0}, "holds no images out for validation"),
        (Plan(objective="loss", patience=2), {}, "--patience watches validation"),
        (Plan("hyperband"), {"search": {"epochs": [1, 2]}}, "which hyperband decides itself"),
        (Plan(), {"search": {"network.arguments.pooling": ["max", "medium"]}}, "medium"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence_before_anything_is_trained(recipe, plan, changes, said):
    with pytest.raises(UsageError, match=said) as caught:
        search(recipe.override(changes), plan, Listener())
    assert "\n" not in str(caught.value)
    assert not search_runs()
