"""`zoo reproduce`: what the table lacks, trained run by run, stopped and gone on with."""

import contextlib
import json
import time

import keras
import pytest
from filelock import FileLock

from pipelines import reproduction
from pipelines.datasets import load_dataset
from pipelines.errors import UsageError
from pipelines.experiment import run_experiment
from pipelines.reproduction import Failure, plan, reproduce
from pipelines.results_table import read_rows, recipe_digest, write_rows
from pipelines.tracking import find_run, search_runs


@pytest.fixture
def table(tmp_path):
    return tmp_path / "results.csv"


@pytest.fixture
def recipe(small_recipe, monkeypatch):
    """`digits_cnn`, small, of two seeds, as if it were the built-in one."""
    recipe = small_recipe.override({"epochs": 2, "seeds": 2, "seed": 4})
    monkeypatch.setattr(reproduction, "load_recipe", lambda name: recipe)
    return recipe


@contextlib.contextmanager
def unseen(recipe):
    yield keras.callbacks.Callback()


def train(entries, table, watch=unseen, **arguments):
    return list(reproduce(entries, table, watch, allow_changed=True, **arguments))


def row_of(recipe, dataset_digest, **changes):
    """A row as a run of the recipe would have it."""
    fields = {
        "recipe": recipe.name,
        "settings": "",
        "seed": recipe.seed,
        "network": recipe.network.name,
        "parameters": 1,
        "dataset": recipe.dataset.name,
        "dataset_digest": dataset_digest,
        "epochs": recipe.epochs,
        "validation_accuracy": 99.0,
        "test_accuracy": 99.0,
        "minutes": 3.0,
        "commit": "abc",
        "date": "2026-01-01",
        "run_id": str(changes),
        "recipe_digest": recipe_digest(recipe),
    }
    return reproduction.Row(**fields | changes)


def test_only_rows_of_today_count(recipe, table):
    digest = load_dataset("digits").digest[:12]
    write_rows(
        table,
        [
            row_of(recipe, digest, recipe_digest="before"),
            row_of(recipe, "other images"),
            row_of(recipe, digest, members=2, vote="mean"),
            row_of(recipe, digest, seed=5),
            row_of(recipe, digest, seed=9),
        ],
    )
    (entry,) = plan("digits_cnn", table)
    assert (entry.recorded, entry.missing, entry.dataset_digest) == ((5,), (4,), digest)


def test_the_cheapest_comes_first_and_the_unknown_last(table, monkeypatch):
    """A run takes what the recipe's earlier ones took by the epoch, whatever their settings were."""
    monkeypatch.setattr(reproduction, "TABLE", table)
    digits, speech = (reproduction.load_recipe(name) for name in ("digits_cnn", "speech_conv1d"))
    write_rows(table, [row_of(digits, "", epochs=2), row_of(speech, "", epochs=200)])
    assert [entry.recipe.name for entry in plan("[ds]*", table)] == ["speech_conv1d", "digits_cnn"]
    write_rows(table, [row_of(digits, "", epochs=2)])
    known, unknown = plan("[ds]*", table)
    assert (known.recipe.name, known.minutes) == ("digits_cnn", 1.5 * digits.epochs)
    assert known.total_minutes == known.minutes * len(known.missing)
    assert (unknown.recipe.name, unknown.minutes, unknown.total_minutes) == ("speech_conv1d", None, None)


def test_a_dataset_that_is_not_there_is_a_reason(table, tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").write_bytes(b"half a file")
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    (entry,) = plan("lenet5", table)
    assert "truncated" in entry.reason
    assert entry.missing == ()


def test_a_recipe_of_no_seeds_has_nothing_to_train(recipe, table, monkeypatch):
    monkeypatch.setattr(reproduction, "load_recipe", lambda name: recipe.override({"seeds": 0}))
    (entry,) = plan("digits_cnn", table)
    assert (entry.missing, entry.reason) == ((), "Its field seeds is 0.")


def test_what_is_missing_is_trained_once(recipe, table, store):
    rows = train(plan("digits_cnn", table), table)
    assert [(row.recipe, row.seed) for row in rows] == [("digits_cnn", 4), ("digits_cnn", 5)]
    assert read_rows(table) == rows
    (entry,) = plan("digits_cnn", table)
    assert (entry.recorded, entry.missing) == ((4, 5), ())
    assert train([entry], table) == []
    assert len(search_runs()) == 2


def test_a_finished_run_without_a_row_gets_it(recipe, table, store):
    done = run_experiment(recipe)
    other = run_experiment(recipe.override({"epochs": 1}))
    rows = train(plan("digits_cnn", table), table)
    assert rows[0].run_id == done.run_id
    assert rows[1].run_id not in (done.run_id, other.run_id)
    assert len(search_runs()) == 3


def test_a_row_that_another_process_wrote_meanwhile_counts(recipe, table, store):
    entries = plan("digits_cnn", table)
    write_rows(table, [row_of(recipe, entries[0].dataset_digest, seed=seed) for seed in (4, 5)])
    assert train(entries, table) == []
    assert search_runs() == []


def test_after_the_deadline_nothing_is_started(recipe, table, store):
    assert train(plan("digits_cnn", table), table, deadline=time.monotonic()) == []
    assert search_runs() == []
    assert not table.exists()


def test_the_deadline_interrupts_a_run_which_is_gone_on_with(recipe, table, store, monkeypatch):
    clock = type("Clock", (), {"now": 0.0, "monotonic": lambda self: self.now})()
    monkeypatch.setattr(reproduction, "time", clock)
    epochs = []

    class Hour(keras.callbacks.Callback):
        """An epoch takes an hour."""

        def on_epoch_end(self, epoch, logs=None):
            epochs.append(epoch)
            clock.now += 3600

    @contextlib.contextmanager
    def watch(recipe):
        yield Hour()

    assert train(plan("digits_cnn", table), table, watch, deadline=3600.0) == []
    (run,) = search_runs()
    assert run.info.status == "KILLED"
    assert epochs == [0]
    first, _ = train(plan("digits_cnn", table), table, watch)
    assert first.run_id == run.info.run_id
    assert epochs == [0, 1, 0, 1]
    assert find_run(first.run_id).info.status == "FINISHED"


def test_a_failure_leaves_the_recipes_other_seeds_and_goes_on(recipe, table, store, monkeypatch):
    broken = recipe.override({"network.arguments.kernel_size": 99})
    monkeypatch.setattr(
        reproduction, "load_recipe", lambda name: broken if name == "digits_cnn" else recipe.override({"seeds": 1})
    )
    monkeypatch.setattr(reproduction, "list_recipes", lambda: ["digits_cnn", "other"])
    failure, row = train(plan("*", table), table)
    assert isinstance(failure, Failure)
    assert failure.recipe.seed == 4
    assert "the smallest is 298x298" in failure.reason
    assert row.seed == 4


def test_the_projects_table_takes_committed_sources_alone(recipe, table, monkeypatch):
    monkeypatch.setattr(reproduction, "git_tags", lambda: {"zoo.git_changed": "true"})
    with pytest.raises(UsageError, match="commit first, or give a table of your own"):
        list(reproduce(plan("digits_cnn", table), table, unseen))


def test_the_command_trains_and_says_what_it_did(recipe, table, store, zoo_command):
    arguments = ["reproduce", "digits_cnn", "--table", table, "--json"]
    missing = [{"recipe": "digits_cnn", "seed": seed} for seed in (4, 5)]
    status, out, _ = zoo_command(*arguments, "--dry-run")
    planned = json.loads(out)
    assert status == 0
    assert [{key: run[key] for key in ("recipe", "seed")} for run in planned["missing"]] == missing
    assert not table.exists()
    assert len(json.loads(zoo_command(*arguments, "--budget", "0")[1])["missing"]) == 2
    status, out, err = zoo_command(*arguments)
    done = json.loads(out)
    assert status == 0
    assert [row["seed"] for row in done["recorded"]] == [4, 5]
    assert (done["missing"], done["failed"], done["skipped"]) == ([], [], {})
    assert "2 of 2: digits_cnn, seed 5" in err
    assert "Nothing is missing." in zoo_command("reproduce", "digits_cnn", "--table", table)[1]


def test_two_at_once_are_refused(recipe, table, store, tmp_path, zoo_command):
    with FileLock(tmp_path / "home" / "reproduce.lock"):
        status, _, err = zoo_command("reproduce", "digits_cnn", "--table", table)
    assert status == 1
    assert "Another zoo reproduce is at work" in err


def test_a_pattern_without_a_recipe_is_one_sentence(zoo_command):
    status, _, err = zoo_command("reproduce", "none*")
    assert status == 2
    assert "No built-in recipe matches 'none*'; there are" in err


@pytest.mark.parametrize("budget", ["nan", "-1", "soon"])
def test_a_budget_that_is_no_time_is_refused(budget, zoo_command):
    status, _, err = zoo_command("reproduce", "digits_cnn", "--budget", budget)
    assert status == 2
    assert "--budget" in err
