import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipelines.tracking import find_run, search_runs
from serving.ports import free_ports

ZOO = [sys.executable, "-c", "from pipelines.cli import main; main()"]


def children():
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture
def short(monkeypatch):
    """The same steps with fewer epochs and trials."""
    import pipelines.recipes

    original = pipelines.recipes.load_recipe
    monkeypatch.setattr("pipelines.recipes.load_recipe", lambda name: original(name).override({"epochs": 6}))
    monkeypatch.setattr("pipelines.cli.quickstart.TRIALS", 2)
    monkeypatch.setattr("pipelines.cli.quickstart.TRIAL_EPOCHS", 1)


@pytest.mark.usefixtures("store", "short")
def test_quickstart_does_the_whole_job_and_leaves_no_process_behind(zoo_command):
    before = children()
    status, out, err = zoo_command("quickstart")
    assert status == 0, err
    assert "One test image of each digit" in out
    assert "digits_cnn version 1, stable" in out
    assert "zoo serve" in out
    assert children() == before

    status, out, _ = zoo_command("quickstart", "--json")
    result = json.loads(out)
    assert result["version"] == 2
    assert result["label"] == "stable"  # the same training again is not worse
    assert result["largest_difference"] <= 1e-5
    assert find_run(result["run_id"]).data.metrics["test_accuracy"] == result["test_accuracy"]
    kinds = [run.data.tags["zoo.kind"] for run in search_runs()]
    assert (kinds.count("train"), kinds.count("search"), kinds.count("trial")) == (2, 2, 4)
    assert children() == before


def start(*arguments):
    return subprocess.Popen([*ZOO, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ended_while_training_it_says_so_in_one_line_and_in_the_run(end):
    process = start("train", "digits_cnn", "--set", "epochs=5000")
    while not any("val_loss" in run.data.metrics for run in search_runs()):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Error: Interrupted."
    assert "Traceback" not in err
    assert [run.info.status for run in search_runs()] == ["KILLED"]


def test_a_server_that_was_started_ends_with_the_command_that_is_terminated(published_home):
    code = """
import time
from pipelines import cli
from serving.local_server import local_server
@cli.app.command()
def hold():
    with local_server(["--model_name=none", "--model_base_path=/nowhere"]) as server:
        print(server.process.pid, flush=True)
        time.sleep(600)
cli.main()
"""
    process = subprocess.Popen([sys.executable, "-c", code, "hold"], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(process.stdout.readline()))
    process.terminate()
    assert process.wait(timeout=60) == 130
    assert psutil.wait_procs([child], timeout=30)[1] == []


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_answers_and_leaves_no_process_behind(end):
    import httpx

    (port,) = free_ports(1)
    process = start("ui", "--port", str(port))
    url = f"http://127.0.0.1:{port}/health"
    for _ in range(300):
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.2)
    assert httpx.get(url, trust_env=False).text == "OK"
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.kill(process.pid, end)
    process.communicate(timeout=60)
    assert psutil.wait_procs(family, timeout=30)[1] == []


@pytest.mark.usefixtures("store")
def test_the_ui_on_a_taken_port(zoo_command):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = zoo_command("ui", "--port", port)
    assert status == 1
    assert f"Port {port} of 127.0.0.1 is taken; choose another with --port." in err
