"""What a run records survives a tracking server that goes away, and a process that is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import httpx
import keras
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from pipelines import tracked_run
from pipelines.errors import PipelineError, UsageError
from pipelines.experiment import run_experiment
from pipelines.home import runs_folder
from pipelines.journal import Journal, journals
from pipelines.networks import network_of
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, interrupted_run, recipe_of, track, tracking_uri
from serving.ports import free_ports

RECIPE = load_recipe("digits_cnn")


class TrackingServer:
    """A real `mlflow server` that can be stopped and started again."""

    def __init__(self, folder):
        self.folder = folder
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", f"{self.folder}/artifacts"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/health", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError("mlflow server did not start within a minute")

    def stop(self):
        """As a machine that loses its power."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def tracking_server(tmp_path, _empty_store, monkeypatch):
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(_empty_store.read_bytes())
    running = TrackingServer(folder)
    running.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running.url)
    # What `connect` sets for a server is this test's alone.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    yield running
    running.stop()


class At(keras.callbacks.Callback):
    """Does something at the end of an epoch, from 1."""

    def __init__(self, **actions):
        super().__init__()
        self.actions = {int(name.removeprefix("epoch")): action for name, action in actions.items()}

    def on_epoch_end(self, epoch, logs=None):
        self.actions.get(epoch + 1, lambda: None)()


def interrupted_after_an_epoch():
    with contextlib.suppress(KeyboardInterrupt), track(RECIPE, "train") as run:
        run.log_epoch(1, {"loss": 1.0})
        raise KeyboardInterrupt
    return run


def steps_of(run_id, metric):
    return [point.step for point in connect().get_metric_history(run_id, metric)]


def test_a_server_that_is_away_in_mid_run_loses_nothing(
    tracking_server, small_recipe, zoo_command, caplog, monkeypatch
):
    """Stopped after the second epoch; started again when the run is over, and before the last epoch of another."""
    monkeypatch.setattr(tracked_run, "PATIENCE", 0.5)
    recipe = small_recipe.override({"epochs": 4})
    trained = run_experiment(recipe, [At(epoch2=tracking_server.stop)])
    assert "does not answer; the run goes on" in caplog.text
    assert 0 < trained.test_accuracy < 1

    status, _, err = zoo_command("sync")
    assert status == 1
    assert err.startswith("Error:")
    assert "1 run waits" in err

    tracking_server.start()
    status, out, err = zoo_command("sync")
    assert (status, err) == (0, "")
    assert trained.run_id in out
    assert is_complete(trained, 4)

    def back():
        tracking_server.start()
        time.sleep(0.6)  # so that the server is asked again

    again = run_experiment(recipe.override({"seed": 2}), [At(epoch1=tracking_server.stop, epoch3=back)])
    assert is_complete(again, 4)
    assert not list(journals())


def is_complete(trained, epochs):
    run = find_run(trained.run_id)
    files = {item.path for item in connect().list_artifacts(run.info.run_id)}
    assert steps_of(run.info.run_id, "val_accuracy") == list(range(1, epochs + 1))
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == trained.test_accuracy
    assert {"recipe.yaml", "learning_curves.png", "test_report.txt"} <= files
    assert run.outputs.model_outputs
    return True


def test_no_server_at_the_start_is_said_in_one_sentence(monkeypatch, zoo_command):
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    status, out, err = zoo_command("train", "digits_cnn", "--set", "epochs=1")
    assert status == 1
    assert out == ""
    assert err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in err


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
    """Between a run's end and the removal of its folder; and in the middle of a trial."""
    with track(RECIPE, "search") as search, track(RECIPE, "train") as run:
        pass
    for run_id, kind in ((run.id, "train"), (search.id, "trial")):
        left = Journal.create(run_id, tracking_uri(), kind, {}, RECIPE)
        left.append("status", status="FINISHED" if kind == "train" else "RUNNING")
        left.mark_sent(1)
        left.release()
    assert len(list(journals())) == 2
    with track(RECIPE, "train"):
        pass
    assert not list(journals())
    assert not [path for path in runs_folder().iterdir() if path.is_dir()]


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
