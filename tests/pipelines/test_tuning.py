from pathlib import Path

import pytest

from pipelines.errors import PipelineError, UsageError
from pipelines.home import tuning_folder
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, search_runs
from pipelines.training import Fitted
from pipelines.tuning import declare, resolve, search

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def recipe(small_recipe):
    fields = {
        "optimizer.learning_rate": {"min": 1e-3, "max": 1e-2, "sampling": "log"},
        "network.arguments.filters": {"choices": [[2], [4], [4, 6]]},
        "batch_size": {"min": 100, "max": 200, "step": 50},
    }
    return small_recipe.override({"epochs": 1, "search": fields})


def test_a_search_is_a_run_with_its_trials_nested_and_a_winner_to_train(recipe):
    heard = []
    found = search(recipe, 3, on_trial=heard.append)
    assert heard == found.trials
    assert [trial.number for trial in found.trials] == [1, 2, 3]
    assert found.best.validation_accuracy == max(trial.validation_accuracy for trial in found.trials)

    for trial in found.trials:
        run = find_run(trial.run_id)
        assert run.data.tags["mlflow.parentRunId"] == found.run_id
        assert run.data.metrics["val_accuracy"] == pytest.approx(trial.validation_accuracy)
        assert run.data.params["batch_size"] == str(trial.settings["batch_size"])
        assert "test_accuracy" not in run.data.metrics  # validation decides
        filters = trial.settings["network.arguments.filters"]
        assert filters in ([2], [4], [4, 6])
        assert trial.settings["batch_size"] in (100, 150, 200)
        assert 1e-3 <= trial.settings["optimizer.learning_rate"] <= 1e-2

    parent = find_run(found.run_id)
    assert parent.data.tags["zoo.kind"] == "search"
    assert parent.data.metrics["val_accuracy"] == pytest.approx(found.best.validation_accuracy)
    assert "winner.yaml" in {item.path for item in connect().list_artifacts(found.run_id)}
    winner = load_recipe(str(found.winner_file))
    assert winner == found.winner
    assert winner.name == recipe.name
    assert winner.network.arguments["filters"] == found.best.settings["network.arguments.filters"]


def test_a_winner_that_cannot_be_written_in_full_is_not_there(recipe, monkeypatch):
    monkeypatch.setattr("pipelines.tuning.fit", lambda *args: Fitted(None, {"val_accuracy": [0.5]}))
    write = Path.write_text

    def full_disk(path, text, *args, **kwargs):
        if path.parent.parent == tuning_folder():
            write(path, text[:10])
            raise OSError("No space left on device")
        return write(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        search(recipe, 1)
    assert not list(tuning_folder().rglob("winner.yaml"))


def test_the_seed_decides_the_settings(recipe, monkeypatch):
    """Zero included, which Keras Tuner itself takes for "no seed"."""
    untrained = Fitted(model=None, history={"loss": [1.0], "val_accuracy": [0.5]})
    monkeypatch.setattr("pipelines.tuning.fit", lambda *args: untrained)
    first, again, other = ([trial.settings for trial in search(recipe, 4, seed=seed).trials] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_failed_trial_is_kept_and_the_search_goes_on(recipe):
    mixed = recipe.override({"search": {"network.arguments.pooling": {"choices": ["max", "medium"]}}})
    found = search(mixed, 2)
    assert len(found.trials) == 2
    (failed,) = [trial for trial in found.trials if trial.validation_accuracy is None]
    assert "pooling is 'medium' in pool1; expected max, average" in failed.error
    assert find_run(failed.run_id).info.status == "FAILED"
    assert found.winner.network.arguments["pooling"] == "max"


def test_a_search_in_which_all_fails_says_why(recipe):
    hopeless = recipe.override({"search": {"network.arguments.pooling": {"choices": ["median", "medium"]}}})
    with pytest.raises(PipelineError, match=r"Each of the 2 trials failed.*expected max, average, l2 or weighted"):
        search(hopeless, 2)
    assert {run.info.status for run in search_runs()} == {"FAILED"}


def test_a_space_smaller_than_the_number_of_trials_is_searched_once(recipe):
    small = recipe.override({"search": {"network.arguments.filters": {"choices": [[2], [3]]}}})
    assert len(search(small, 5).trials) == 2


def test_a_recipe_without_a_search_block(recipe):
    with pytest.raises(UsageError, match="no search: block"):
        search(recipe.override({"search": {}}), 1)


def test_all_hyperparameters_are_declared_up_front_with_their_kinds():
    recipe = load_recipe("digits_cnn")
    space = declare(recipe)
    assert {hp.name for hp in space.space} == set(recipe.search)
    kinds = {hp.name: type(hp).__name__ for hp in space.space}
    assert kinds["optimizer.learning_rate"] == "Float"
    assert kinds["network.arguments.filters"] == "Choice"
    assert kinds["augmentation.0.degrees"] == "Int"
    assert set(resolve(recipe, space.values)) == set(recipe.search)


def test_steps_do_not_leave_rounding_errors_in_recipes():
    recipe = load_recipe("digits_cnn")
    assert resolve(recipe, {"network.arguments.dropout": 0.1 * 3}) == {"network.arguments.dropout": 0.3}
