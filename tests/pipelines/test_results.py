"""The table of results: written from tracked runs, merged by seed, never rewritten."""

import json

import pytest

from pipelines import results
from pipelines.errors import PipelineError, UsageError
from pipelines.recipes import list_recipes
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


def test_seeds_make_one_result_with_its_spread(table):
    write(table, {}, {"seed": 3, "test_accuracy": 99.7, "run_id": "2"}, {"settings": "--set epochs=3", "run_id": "3"})
    plain, other = read_results(table)
    assert (plain.seeds, plain.test_accuracy) == ([1, 3], pytest.approx(99.6))
    assert plain.standard_deviation == pytest.approx(0.1414, abs=1e-4)
    assert plain.sentence() == (
        "99.60 ± 0.14 % on digits (mean and standard deviation of 2 seeds): `zoo train digits_cnn --seeds 2`"
    )
    assert other.sentence() == "99.50 % on digits (seed 1 only): `zoo train digits_cnn --set epochs=3`"


def test_the_latest_run_of_a_seed_counts(table):
    write(table, {}, {"test_accuracy": 98.0, "run_id": "2"})
    (result,) = read_results(table)
    assert (result.seeds, result.test_accuracy) == ([1], 98.0)


def test_a_tracked_run_becomes_a_row_once(published_home, table, zoo_command, monkeypatch):
    monkeypatch.setattr(results, "TABLE", table)
    write(table, {"settings": "--set epochs=3"})
    before = table.read_text()
    run = find_run(published_home.run.run_id)
    (result,) = record([run], table)
    assert record([run], table) == [result]
    assert table.read_text().startswith(before)
    assert len(table.read_text().splitlines()) == 3
    assert result.test_accuracy == pytest.approx(100 * published_home.run.test_accuracy, abs=1e-3)
    assert result.parameters == sum(w.size for w in published_home.run.model.get_weights())
    # What differs from the built-in recipe is in the command, so that whoever runs it gets the same.
    assert "--set 'network.arguments.filters=[8, 12]'" in result.command
    assert "--set epochs=8" in result.command
    status, out, _ = zoo_command("results", "--json")
    assert status == 0
    assert isinstance(json.loads(out), list)


def test_the_command_of_a_row_makes_the_same_recipe(published_home, table):
    import shlex

    from pipelines.recipes import load_recipe, parse_assignments

    (result,) = record([find_run(published_home.run.run_id)], table)
    words = shlex.split(result.command)
    assert words[:3] == ["zoo", "train", "digits_cnn"]
    assignments = [word for word, before in zip(words[1:], words, strict=False) if before == "--set"]
    assert load_recipe("digits_cnn").override(parse_assignments(assignments)) == published_home.run.recipe


def test_a_run_that_nobody_could_repeat_is_refused(published_home, table, monkeypatch):
    monkeypatch.setattr(results, "list_recipes", lambda: ["other"])
    with pytest.raises(UsageError, match="no built-in recipe"):
        record([find_run(published_home.run.run_id)], table)
    assert not table.exists()


def test_a_broken_table_is_one_sentence(table):
    table.write_text("recipe,settings\nx,\n")
    with pytest.raises(PipelineError, match=r"results\.csv cannot be read"):
        read_results(table)
