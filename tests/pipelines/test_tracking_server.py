"""What a run records survives a tracking server that goes away: with a real `mlflow server`."""

import os
import signal
import subprocess
import sys
import time

import httpx
import keras
import pytest

from pipelines import tracked_run
from pipelines.experiment import run_experiment
from pipelines.journal import journals
from pipelines.tracking import connect, find_run
from serving.ports import free_ports


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
