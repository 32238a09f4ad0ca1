"""`zoo train` killed in the middle of an epoch, and gone on with."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pipelines.home import runs_folder
from pipelines.networks import network_of
from pipelines.tracking import connect, find_run, search_runs

# Dropout is on in digits_cnn; with an augmentation that draws many numbers besides.
SETTINGS = ["--set", "epochs=10", "--set", 'augmentation.3={"step": "elastic", "alpha": 20, "sigma": 4}']
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


def start(*arguments):
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "train", "digits_cnn", *SETTINGS]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)["runs"][0], err


def wait_for_epoch(process, epoch):
    """Until this epoch's end is written down."""
    while True:
        assert process.poll() is None, process.communicate()
        text = "".join(path.read_text("utf-8") for path in runs_folder().glob("*/journal.jsonl"))
        if f'"step": {epoch}}}' in text:
            return
        time.sleep(0.01)


def histories(run_id):
    return {
        name: [(point.step, point.value) for point in connect().get_metric_history(run_id, name)] for name in METRICS
    }


@pytest.mark.usefixtures("store")
def test_killed_in_mid_epoch_it_goes_on_in_the_same_run_to_the_same_weights():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    process = start("--json")
    wait_for_epoch(process, 3)
    time.sleep(chance.uniform(0, 0.2))  # somewhere in a later epoch
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (run,) = search_runs()
    assert run.info.status == "RUNNING"
    killed = run.info.run_id

    resumed, err = finished(start("--json", "--resume"))
    assert f"run {killed} was interrupted after" in err
    assert "going on with it" in err
    assert resumed["run_id"] == killed
    again, err = finished(start("--json", "--resume"))
    assert f"run {killed} is finished already" in err
    assert again == resumed
    whole, _ = finished(start("--json"))
    assert whole["run_id"] != killed

    assert histories(killed) == histories(whole["run_id"])
    assert [step for step, _ in histories(killed)["loss"]] == list(range(1, 11))
    assert {k: resumed[k] for k in ("validation_accuracy", "test_accuracy")} == {
        k: whole[k] for k in ("validation_accuracy", "test_accuracy")
    }
    networks = [network_of(find_run(run_id)) for run_id in (killed, whole["run_id"])]
    for ours, expected in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert find_run(killed).info.status == "FINISHED"
    assert not list(runs_folder().glob("*/run.json"))
