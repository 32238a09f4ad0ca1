"""What a run records survives a tracking server that goes away, and a process that is killed."""

import contextlib
import json

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pipelines import tracked_run
from pipelines.errors import PipelineError, UsageError
from pipelines.home import runs_folder
from pipelines.journal import Journal, journals
from pipelines.networks import network_of
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, interrupted_run, recipe_of, track, tracking_uri

RECIPE = load_recipe("digits_cnn")


def interrupted_after_an_epoch():
    with contextlib.suppress(KeyboardInterrupt), track(RECIPE, "train") as run:
        run.log_epoch(1, {"loss": 1.0})
        raise KeyboardInterrupt
    return run


def steps_of(run_id, metric):
    return [point.step for point in connect().get_metric_history(run_id, metric)]


@pytest.mark.usefixtures("store")
def test_a_run_leaves_no_journal_behind():
    with track(RECIPE, "train") as run:
        run.log_epoch(1, {"loss": 1.0})
        assert [journal.run_id for journal in journals()] == [run.id]
    assert not list(journals())
    assert not run.journal.folder.exists()


@pytest.mark.usefixtures("store")
def test_an_interrupted_run_is_found_and_goes_on_in_place():
    run = interrupted_after_an_epoch()
    assert find_run(run.id).info.status == "KILLED"
    assert interrupted_run(RECIPE.override({"seed": 2})) is None
    assert interrupted_run(RECIPE.override({"epochs": 3})) is None
    # What decides nothing in training makes no other recipe.
    found = interrupted_run(RECIPE.override({"description": "other words"}))
    assert found.run_id == run.id
    assert found.epochs() == {1}
    with track(RECIPE, "train", resume=found) as again:
        assert again.id == run.id
        assert find_run(run.id).info.status == "RUNNING"
        assert interrupted_run(RECIPE) is None  # it is being worked on
        with (
            pytest.raises(PipelineError, match="is being worked on by another process"),
            track(RECIPE, "train", resume=Journal(found.folder)),
        ):
            pass
        again.log_epoch(1, {"loss": 1.0})
        again.log_epoch(2, {"loss": 0.5})
    assert steps_of(run.id, "loss") == [1, 2]
    assert find_run(run.id).info.status == "FINISHED"
    assert interrupted_run(RECIPE) is None


@pytest.mark.usefixtures("store")
def test_time_between_an_interruption_and_going_on_is_no_work():
    run = interrupted_after_an_epoch()
    lines = [json.loads(line) for line in (run.journal.folder / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        line["time"] -= 3_600_000
    (run.journal.folder / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with track(RECIPE, "train", resume=interrupted_run(RECIPE)):
        pass
    assert find_run(run.id).data.metrics["minutes"] < 1


@pytest.mark.usefixtures("store")
def test_what_was_sent_twice_is_there_once():
    """A process can be killed after it sent an entry and before it wrote down that it did."""
    with track(RECIPE, "train") as run:
        run.log_epoch(1, {"loss": 1.0})
        run.log_text("a", "folder/a.txt")
        (run.journal.folder / "sent").unlink()
        run.log_epoch(2, {"loss": 0.5})
    assert steps_of(run.id, "loss") == [1, 2]
    assert [item.path for item in connect().list_artifacts(run.id, "folder")] == ["folder/a.txt"]


@pytest.mark.usefixtures("store")
def test_a_line_that_a_kill_cut_short_counts_for_nothing():
    run = interrupted_after_an_epoch()
    with (run.journal.folder / "journal.jsonl").open("a") as file:
        file.write('{"kind": "metrics", "val')
    with track(RECIPE, "train", resume=interrupted_run(RECIPE)) as again:
        again.log_epoch(2, {"loss": 0.5})
    assert steps_of(run.id, "loss") == [1, 2]


@pytest.mark.usefixtures("store")
def test_an_upload_that_breaks_off_is_made_good(published_home, tmp_path, monkeypatch):
    """MLflow ties a model to its run before it has the model's files."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    upload, calls = MlflowClient.log_model_artifacts, []

    def breaks_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise MlflowException("the connection was lost", error_code=TEMPORARILY_UNAVAILABLE)
        return upload(*arguments)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", breaks_once)
    monkeypatch.setattr(tracked_run, "PATIENCE", 0.0)
    with track(RECIPE, "train") as run:
        run.log_model(published_home.run.model)
        assert len(calls) == 1
    found = find_run(run.id)
    assert len(found.outputs.model_outputs) == 1
    for ours, expected in zip(network_of(found).get_weights(), published_home.run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.usefixtures("store")
def test_a_store_that_refuses_holds_up_no_other_run(zoo_command, caplog):
    """A run that was deleted in MLflow's UI while it went on: what it records is kept, and others are sent."""
    with track(RECIPE, "train") as deleted:
        connect().delete_run(deleted.id)
        deleted.log_epoch(1, {"loss": 1.0})
        assert "refuses" in caplog.text
    with track(RECIPE, "train") as run:
        run.log_epoch(1, {"loss": 1.0})
    assert find_run(run.id).info.status == "FINISHED"
    status, _, err = zoo_command("sync")
    assert status == 1
    assert f"run {deleted.id} is not taken" in err
    assert "1 run waits to be sent" in err
    assert "does not take all" in err


@pytest.mark.usefixtures("store")
def test_an_interrupted_run_that_was_deleted_is_dropped(caplog):
    run = interrupted_after_an_epoch()
    connect().delete_run(run.id)
    assert interrupted_run(RECIPE) is None
    assert "is deleted in MLflow" in caplog.text
    assert not list(journals())


@pytest.mark.usefixtures("store")
def test_a_run_interrupted_before_its_parameters_were_sent_has_them_when_it_goes_on(monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracked_run.TrackedRun, "log_params", interrupt)
        with contextlib.suppress(KeyboardInterrupt), track(RECIPE, "train"):
            pass
    with track(RECIPE, "train", resume=interrupted_run(RECIPE)) as run:
        pass
    found = find_run(run.id)
    assert found.data.params["epochs"] == str(RECIPE.epochs)
    assert recipe_of(found) == RECIPE


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("store")
def test_other_sources_make_a_run_that_goes_on_no_result_of_either(monkeypatch):
    interrupted_after_an_epoch()
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.provenance.machine", lambda: "another machine")
        with track(RECIPE, "train", resume=interrupted_run(RECIPE)) as run:
            pass
    assert find_run(run.id).data.tags["zoo.git_changed"] == "true"


@pytest.mark.usefixtures("store")
def test_what_a_kill_left_is_cleared_away_by_the_next_run():
    """Between a run's end and the removal of its folder; and in the middle of what cannot be gone on with."""
    endings = [("train", "FINISHED"), ("ensemble", "RUNNING"), ("trial", "FAILED"), ("trial", "RUNNING")]
    ids = []
    for kind, status in endings:
        with track(RECIPE, kind) as run:
            ids.append(run.id)
        left = Journal.create(run.id, tracking_uri(), kind, {}, RECIPE)
        left.append("status", status=status)
        left.mark_sent(1)
        left.release()
    with track(RECIPE, "train"):
        pass
    assert [journal.run_id for journal in journals()] == ids[-1:]  # a trial in progress, which can
    assert [path.name for path in runs_folder().iterdir() if path.is_dir()] == ids[-1:]


@pytest.mark.usefixtures("store")
def test_a_finished_run_takes_the_place_of_interrupted_ones():
    interrupted_after_an_epoch()
    assert interrupted_run(RECIPE)
    with track(RECIPE, "train"):
        pass
    assert interrupted_run(RECIPE) is None
    assert not list(journals())


@pytest.mark.usefixtures("store")
def test_a_journal_of_a_version_with_other_fields_is_in_nobody_s_way():
    run = interrupted_after_an_epoch()
    (run.journal.folder / "recipe.yaml").write_text("name: digits_cnn\nflavour: sweet\n")
    assert interrupted_run(RECIPE) is None


@pytest.mark.usefixtures("store")
def test_what_the_user_has_to_mend_leaves_nothing_to_resume():
    with pytest.raises(UsageError), track(RECIPE, "train"):
        raise UsageError("batch_size is 2000.")
    assert interrupted_run(RECIPE) is None
    assert not list(journals())
