"""Single trials: what a kill at a bad moment leaves behind, and trials of other searches."""

import contextlib
import json
from dataclasses import asdict

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, Stopped
from pipelines.home import runs_folder
from pipelines.journal import Journal
from pipelines.tracking import connect, deliver_waiting, find_run, recipe_of, search_runs, track
from pipelines.training import Fitted
from pipelines.tuning.oracles import make_oracle
from pipelines.tuning.plan import Plan, SearchFolder, interrupted_search
from pipelines.tuning.runner import TrialRunner, close_run, journal_of, read_outcome, write_outcome
from pipelines.tuning.trials import Trial

pytestmark = pytest.mark.usefixtures("store")


class Deaf:
    """Does not listen to a search."""

    def recall(self, *told):
        pass

    begin = epoch = end = recall


@pytest.fixture
def recipe(small_recipe):
    return small_recipe.override({"epochs": 2, "batch_size": 100, "search": {"batch_size": [50, 100]}})


def interrupted(*arguments, **options):
    """A run that was begun, and no more."""
    with contextlib.suppress(KeyboardInterrupt), track(*arguments, **options) as run:
        raise KeyboardInterrupt
    return run


@pytest.fixture
def searching(recipe):
    """A search in progress: its folder, its oracle, what runs a trial."""
    with track(recipe, "search", name="search") as run:
        folder = SearchFolder(run.id)
        folder.write(recipe, Plan(), "0" * 64)
        oracle = make_oracle(recipe, Plan(), folder)
        yield folder, oracle, TrialRunner(recipe, Plan(), folder, load_dataset("digits"), Deaf())


def test_a_kill_between_the_beginnings_of_run_and_journal(recipe, searching):
    """The run is taken up, so that the trial has one run and not two."""
    folder, oracle, run_trial = searching
    tags = {"zoo.kind": "trial", "mlflow.parentRunId": folder.search_id, "zoo.trial": "0"}
    parent = find_run(folder.search_id)
    orphan = connect().create_run(parent.info.experiment_id, tags=tags).info.run_id
    done = run_trial(oracle.create_trial("tuner0"))
    assert done is not None, read_outcome(folder, 0).error
    (run,) = search_runs("tags.`zoo.trial` = '0'")
    assert (run.info.run_id, run.info.status) == (orphan, "FINISHED")
    assert read_outcome(folder, 0).run_id == orphan


def test_a_kill_before_a_journal_s_first_entry_harms_no_other_run(recipe):
    """And the run with that journal can be gone on with."""
    run = interrupted(recipe, "train")
    journal = Journal(runs_folder() / run.id)
    (journal.folder / "journal.jsonl").unlink()
    assert journal.status() == "RUNNING"
    deliver_waiting(connect())
    assert journal.is_there


def test_a_kill_between_outcome_and_the_run_s_end(recipe, searching, monkeypatch):
    """The trial is not trained again, and its run has its end and its own recipe."""
    folder, oracle, run_trial = searching
    trial = oracle.create_trial("tuner0")
    own = recipe.override({"batch_size": 77, "search": {}})
    tags = {"zoo.trial": "0"}
    run = interrupted(own, "trial", parent=folder.search_id, more_tags=tags)
    write_outcome(folder, Trial(0, {"batch_size": 77}, run.id, 0.5, 1, 2))
    monkeypatch.setattr("pipelines.tuning.runner.fit", lambda *a, **k: pytest.fail("it is trained again"))
    assert run_trial(trial) == ({"val_accuracy": 0.5}, 0)
    ended = find_run(run.id)
    assert ended.info.status == "FINISHED"
    assert recipe_of(ended).batch_size == 77
    assert journal_of(recipe, folder, 0) is None


def test_a_trial_that_failed_is_closed_with_its_reason(recipe, searching):
    folder, oracle, _ = searching
    oracle.create_trial("tuner0")
    tags = {"zoo.trial": "0"}
    run = interrupted(recipe, "trial", parent=folder.search_id, more_tags=tags)
    close_run(recipe, folder, Trial(0, {}, run.id, error="The worker died."))
    ended = find_run(run.id)
    assert (ended.info.status, ended.data.tags["zoo.error"]) == ("FAILED", "The worker died.")


def test_a_trial_of_another_search_is_not_taken(recipe, searching):
    """A chief was started anew at the address of the old one."""
    folder, _, run_trial = searching
    write_outcome(folder, Trial(0, {}, "run", 0.5, 1, 2))
    other = make_oracle(recipe, Plan(), SearchFolder("another"))
    with pytest.raises(Stopped, match="The chief has begun search another"):
        run_trial(other.create_trial("tuner0"))


def test_a_run_in_other_hands_is_waited_for_and_not_failed(recipe, searching, monkeypatch):
    folder, oracle, run_trial = searching
    tags = {"zoo.trial": "0"}
    with track(recipe, "trial", parent=folder.search_id, more_tags=tags):  # the former worker is still at it
        monkeypatch.setattr("pipelines.tracking.HANDOVER", 0.2)
        with pytest.raises(Stopped, match="is being worked on by another process"):
            run_trial(oracle.create_trial("tuner0"))
    assert read_outcome(folder, 0) is None


@pytest.mark.parametrize("error", [RuntimeError("No\nmemory."), PipelineError("No memory.")])
def test_the_reason_of_a_failure_is_one_line(searching, monkeypatch, error):
    folder, oracle, run_trial = searching

    def fit(*arguments, **options):
        raise error

    monkeypatch.setattr("pipelines.tuning.runner.fit", fit)
    assert run_trial(oracle.create_trial("tuner0")) is None
    assert read_outcome(folder, 0).error in ("RuntimeError: No memory.", "No memory.")


def test_an_objective_that_is_never_a_number_fails(searching, monkeypatch):
    folder, oracle, run_trial = searching
    nothing = Fitted(None, {"val_accuracy": [float("nan")] * 2})
    monkeypatch.setattr("pipelines.tuning.runner.fit", lambda *a, **k: nothing)
    assert run_trial(oracle.create_trial("tuner0")) is None
    assert "never a number" in read_outcome(folder, 0).error
    json.dumps(asdict(read_outcome(folder, 0)), allow_nan=False)


def test_a_search_at_work_is_not_gone_on_with_by_another(recipe, searching, monkeypatch):
    from pipelines.errors import UsageError
    from pipelines.tracking import tracking_uri

    folder, *_ = searching
    with pytest.raises(UsageError, match="is being worked on by another process"):
        interrupted_search(recipe, "", tracking_uri())
    (folder.path / "plan.json").unlink()  # it was killed before it had one
    assert interrupted_search(recipe, "", tracking_uri()) is None


def test_a_store_that_is_away_ends_the_search_and_fails_no_trial(searching, monkeypatch):
    folder, oracle, run_trial = searching

    def away(*arguments):
        raise MlflowException("Connection refused", error_code=INTERNAL_ERROR)

    monkeypatch.setattr("pipelines.tuning.runner.search_runs", away)
    with pytest.raises(Stopped, match="The tracking store went away"):
        run_trial(oracle.create_trial("tuner0"))
    assert read_outcome(folder, 0) is None
