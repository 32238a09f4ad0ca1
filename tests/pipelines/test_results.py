"""The table of results: written from tracked runs, merged by seed, never rewritten."""

import json
import shlex

import pytest

from pipelines import results
from pipelines.errors import PipelineError, UsageError
from pipelines.recipes import list_recipes, load_recipe, parse_assignments
from pipelines.results import TABLE, Row, read_results, record
from pipelines.tracking import find_run

ROW = Row(
    recipe="digits_cnn",
    settings="",
    seed=1,
    network="mnist_cnn_dropout",
    parameters=80_202,
    dataset="digits",
    dataset_digest="0123456789ab",
    epochs=24,
    validation_accuracy=99.0,
    test_accuracy=99.5,
    minutes=0.2,
    commit="abc",
    date="2026-01-01",
    run_id="1",
)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "results.csv"


def write(table, *changes):
    results._write(table, [ROW.model_copy(update=change) for change in changes])


def test_what_the_repository_claims_can_be_repeated():
    found = read_results(TABLE)
    assert found
    for result in found:
        assert result.recipe in list_recipes()
        assert result.command.startswith(f"zoo train {result.recipe}")


def test_consecutive_seeds_make_one_result_with_its_spread(table):
    write(table, {}, {"seed": 2, "test_accuracy": 99.7, "run_id": "2"}, {"settings": "--set epochs=3", "run_id": "3"})
    plain, other = read_results(table)
    assert (plain.seeds, plain.test_accuracy) == ([1, 2], pytest.approx(99.6))
    assert plain.standard_deviation == pytest.approx(0.1414, abs=1e-4)
    assert plain.sentence() == (
        "99.60 ± 0.14 % on digits (mean and standard deviation of 2 seeds): `zoo train digits_cnn --seeds 2`"
    )
    assert other.sentence() == "99.50 % on digits (seed 1 only): `zoo train digits_cnn --set epochs=3`"


def test_seeds_apart_are_results_apart(table):
    """`--seeds` trains consecutive ones: another command would not repeat them."""
    write(table, {}, {"seed": 4, "run_id": "2"}, {"seed": 3, "run_id": "3"})
    commands = [result.command for result in read_results(table)]
    assert commands == ["zoo train digits_cnn", "zoo train digits_cnn --seed 3 --seeds 2"]


def test_the_latest_run_of_a_seed_counts(table):
    write(table, {}, {"test_accuracy": 98.0, "run_id": "2"})
    (result,) = read_results(table)
    assert (result.seeds, result.test_accuracy) == ([1], 98.0)


@pytest.fixture
def run(published_home, monkeypatch):
    """A tracked run, as of sources that are committed."""
    found = find_run(published_home.run.run_id)
    monkeypatch.setitem(found.data.tags, "zoo.git_changed", "false")
    return found


def test_a_tracked_run_becomes_a_row_once(published_home, run, table):
    write(table, {"settings": "--set epochs=3"})
    before = table.read_text()
    (result,) = record([run], table)
    assert record([run], table) == [result]
    assert table.read_text().startswith(before)
    assert len(table.read_text().splitlines()) == 3
    assert result.test_accuracy == pytest.approx(100 * published_home.run.test_accuracy, abs=1e-3)
    assert result.parameters == sum(w.size for w in published_home.run.model.get_weights())


def test_the_command_adds_and_lists(published_home, run, table, zoo_command, monkeypatch):
    monkeypatch.setattr(results, "TABLE", table)
    monkeypatch.setattr("pipelines.tracking.find_run", lambda reference, kind: run)
    write(table, {"settings": "--set epochs=3"})
    status, out, _ = zoo_command("results", run.info.run_id, "--json")
    assert status == 0
    assert [result["seeds"] for result in json.loads(out)] == [[1]]
    assert len(table.read_text().splitlines()) == 3
    assert len(json.loads(zoo_command("results", "--json")[1])) == 2
    assert zoo_command("results", "--markdown")[1].count("| `digits_cnn` |") == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"network.arguments.filters": [8, 12], "epochs": 8, "augmentation": []},
        {"network.arguments": {"filters": [8]}},
        {"network.arguments": {}},
        {"augmentation": [{"step": "shift", "pixels": 2.5}], "schedule.name": "constant"},
    ],
)
def test_the_command_of_a_row_makes_the_same_recipe(changes):
    recipe = load_recipe("digits_cnn").override(changes)
    words = shlex.split(results._settings(recipe))
    assert set(words[::2]) == {"--set"}
    assert load_recipe("digits_cnn").override(parse_assignments(words[1::2])) == recipe


def refused(run, table, says):
    with pytest.raises(UsageError, match=says):
        record([run], table)
    assert not table.exists()


def test_a_run_that_nobody_could_repeat_is_refused(run, table, monkeypatch):
    monkeypatch.setattr(results, "list_recipes", lambda: ["other"])
    refused(run, table, "no built-in recipe")


def test_a_run_of_changed_sources_is_refused(run, table, monkeypatch):
    monkeypatch.setitem(run.data.tags, "zoo.git_changed", "true")
    refused(run, table, "changed since their commit; commit, train again")


def test_a_run_without_a_result_is_refused(run, table, monkeypatch):
    monkeypatch.delitem(run.data.metrics, "parameters")
    refused(run, table, "lacks a result; train it to its end")


def test_a_broken_table_is_one_sentence(table):
    table.write_text("recipe,settings\nx,\n")
    with pytest.raises(PipelineError, match=r"results\.csv cannot be read"):
        read_results(table)
