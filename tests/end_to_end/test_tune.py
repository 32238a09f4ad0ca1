"""`zoo tune` as processes that are killed: the whole of it, a worker, the chief."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.home import runs_folder, tuning_folder
from pipelines.tracking import connect, search_runs
from serving.ports import free_ports

pytestmark = pytest.mark.usefixtures("store")
# Trials of some seconds, of which each step counts.
SMALL = ["network.arguments.filters=[8,12]", "network.arguments.dense_units=[32]", "epochs=12", "batch_size=32"]
SPACE = ["search={optimizer.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}}"]
TRIALS = 4


def start(*arguments):
    settings = [part for setting in SMALL + SPACE for part in ("--set", setting)]
    command = [sys.executable, "-m", "pipelines.cli", "tune", "digits_cnn", *settings, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def searching(*arguments):
    return start("--trials", str(TRIALS), "--seeds", "0", "--json", *arguments)


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err + logs()
    return json.loads(out)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, logs()
        time.sleep(0.02)
    return found


def wait_for_trial(process, number, epoch):
    """Until so many epochs of a trial are written down; the id of its run."""

    def run_id():
        for facts in runs_folder().glob("*/run.json"):
            try:
                tags = json.loads(facts.read_text("utf-8"))["tags"]
                text = (facts.parent / "journal.jsonl").read_text("utf-8")
            except FileNotFoundError:  # it has just begun, or ended
                continue
            if tags.get("zoo.trial") == str(number) and f'"step": {epoch}}}' in text:
                return facts.parent.name
        return None

    return wait_for(run_id, process)


def logs():
    return "\n".join(f"{path.name}: {path.read_text('utf-8')}" for path in tuning_folder().rglob("*.log"))


def processes(*words):
    """Those whose command has all of these words in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        home = os.environ["ZOO_HOME"]
        if any(home.encode() in part for part in command) and set(words) <= {part.decode() for part in command}:
            found.append(int(path.parent.name))
    return found


def check_whole(result):
    """As many trials as planned, each with one run of its own, in which each epoch stands once."""
    assert [trial["number"] for trial in result["trials"]] == list(range(TRIALS))
    runs = {run.info.run_id: run for run in search_runs("tags.`zoo.kind` = 'trial'")}
    assert set(runs) == {trial["run_id"] for trial in result["trials"]}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for run_id in runs:
        curve = connect().get_metric_history(run_id, "val_accuracy")
        assert [metric.step for metric in curve] == list(range(1, 13))
    (parent,) = search_runs("tags.`zoo.kind` = 'search'")
    assert parent.info.status == "FINISHED"
    assert not list(runs_folder().glob("*"))
    return runs


def test_a_search_that_is_killed_goes_on_where_it_was():
    process = searching()
    interrupted = wait_for_trial(process, 1, 5)
    process.kill()
    process.communicate()
    (first,) = search_runs("tags.`zoo.trial` = '0'")
    result = finished(searching("--resume"))
    runs = check_whole(result)
    assert result["trials"][1]["run_id"] == interrupted
    assert runs[first.info.run_id].info.end_time == first.info.end_time  # it was not trained again


def test_a_worker_that_is_killed_comes_back_and_has_its_trial_again():
    process = searching("--workers", "2")
    interrupted = wait_for_trial(process, 1, 5)
    (parent,) = search_runs("tags.`zoo.kind` = 'search'")
    holder = next(
        tuner
        for tuner, trial in json.loads((tuning_folder() / parent.info.run_id / "oracle" / "oracle.json").read_text())[
            "ongoing_trials"
        ].items()
        if int(trial) == 1
    )
    (worker,) = processes("--id", holder)
    os.kill(worker, signal.SIGKILL)
    result = finished(process)
    check_whole(result)
    assert result["trials"][1]["run_id"] == interrupted


def test_workers_end_when_their_chief_is_killed_and_the_search_goes_on():
    """At once: the new workers wait for the old ones to let go of their trials."""
    process = searching("--workers", "2")
    wait_for_trial(process, 0, 2)
    orphans = set(processes("--role", "worker"))
    process.kill()
    process.communicate()
    resumed = searching("--workers", "2", "--resume")
    end = time.monotonic() + 60
    while orphans & set(processes("--role", "worker")):
        assert time.monotonic() < end, "the workers are still there after a minute"
        time.sleep(0.2)
    assert "has not answered for 30 s; start it again" in logs()
    assert "Traceback" not in logs()
    check_whole(finished(resumed))


def test_chief_and_workers_on_their_own(tmp_path):
    """Started one by one, a worker before its chief, as on several machines."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    workers = [start("--role", "worker", "--chief", address, "--id", name) for name in ("first", "second")]
    chief = searching("--role", "chief", "--chief", address)
    check_whole(finished(chief))
    for worker in workers:
        _, err = worker.communicate(timeout=60)
        assert worker.returncode == 0, err
        assert "the search is over" in err
