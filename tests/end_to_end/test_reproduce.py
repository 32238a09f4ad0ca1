"""`zoo reproduce` fills a recipe's result from nothing, and is killed and started again on the way."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from pipelines.datasets import load_dataset
from pipelines.recipes import list_recipes, load_recipe
from pipelines.results import read_results
from pipelines.results_table import read_rows
from pipelines.tracking import search_runs

PATTERN = "mnist_fc*"
(RECIPE,) = [load_recipe(name) for name in list_recipes() if name.startswith("mnist_fc")]
SEEDS = list(range(RECIPE.seed, RECIPE.seed + RECIPE.seeds))
EPOCHS_BEFORE_THE_KILL = 3


@pytest.fixture
def data_folder(tmp_path):
    """An `mnist.npz` of real digits with a few hundred images to train on; 10,000 are held out as always."""
    digits = load_dataset("digits")
    images, labels = digits.train.images[..., 0], digits.train.labels
    train = np.arange(10_400) % len(images)
    folder = tmp_path / "data"
    folder.mkdir()
    np.savez(
        folder / "mnist.npz",
        x_train=images[train],
        y_train=labels[train],
        x_test=digits.test.images[..., 0],
        y_test=digits.test.labels,
    )
    return folder


@pytest.fixture
def start(tmp_path, data_folder):
    """Starts the command as a process of its own; what is left of it ends with the test."""
    environment = {**os.environ, "ZOO_DATA_DIR": str(data_folder)}
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "reproduce", PATTERN]
    processes = []

    def begin():
        with (tmp_path / "output.txt").open("a") as output:
            process = subprocess.Popen(
                [*command, "--table", str(tmp_path / "table.csv")], env=environment, stdout=output, stderr=output
            )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def epochs_of(run):
    """How many epochs a run has recorded."""
    from pipelines.tracking import connect

    return len(connect().get_metric_history(run.info.run_id, "val_accuracy"))


def wait_until(condition, process, output):
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, output.read_text()
        time.sleep(0.1)
    pytest.fail(output.read_text())


def test_killed_and_started_again_it_fills_the_row(start, store, tmp_path):
    table, output = tmp_path / "table.csv", tmp_path / "output.txt"

    def second_run_goes_on():
        running = [run for run in search_runs() if run.data.tags["zoo.seed"] == str(SEEDS[1])]
        return bool(running) and epochs_of(running[0]) >= EPOCHS_BEFORE_THE_KILL

    first = start()
    wait_until(second_run_goes_on, first, output)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert [row.seed for row in read_rows(table)] == SEEDS[:1]
    finished, interrupted = sorted(search_runs(), key=lambda run: int(run.data.tags["zoo.seed"]))
    assert interrupted.info.status == "RUNNING"
    assert EPOCHS_BEFORE_THE_KILL <= epochs_of(interrupted) < RECIPE.epochs

    second = start()
    assert second.wait(timeout=200) == 0, output.read_text()
    rows = read_rows(table)
    assert [row.seed for row in rows] == SEEDS
    assert [row.run_id for row in rows[:2]] == [finished.info.run_id, interrupted.info.run_id]
    runs = {run.info.run_id: run for run in search_runs()}
    assert set(runs) == {row.run_id for row in rows}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {epochs_of(run) for run in runs.values()} == {RECIPE.epochs}
    (result,) = read_results(table)
    assert (result.recipe, result.seeds, result.is_current) == (RECIPE.name, SEEDS, True)
    assert result.paper == RECIPE.paper.test_accuracy
    assert result.standard_deviation is not None
    assert 50 < result.test_accuracy <= 100
