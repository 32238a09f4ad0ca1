"""Results: rows of one recipe, setting and dataset with consecutive seeds, merged."""

import json

import pytest

from pipelines import results
from pipelines.errors import PipelineError
from pipelines.recipes import list_recipes, load_recipe
from pipelines.results import read_results
from pipelines.results_table import TABLE, Row, recipe_digest, settings_of, write_rows

OTHER = load_recipe("digits_cnn").override({"epochs": 3})
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
    recipe_digest=recipe_digest(load_recipe("digits_cnn")),
)
OF_OTHER = {"settings": settings_of(OTHER), "recipe_digest": recipe_digest(OTHER), "run_id": "other"}


@pytest.fixture
def table(tmp_path):
    return tmp_path / "results.csv"


def write(table, *changes):
    write_rows(table, [ROW.model_copy(update={"run_id": str(i), **change}) for i, change in enumerate(changes)])


def test_what_the_repository_claims_can_be_repeated():
    found = read_results(TABLE)
    assert found
    for result in found:
        assert result.recipe in list_recipes()
        assert f"zoo train {result.recipe}" in result.command
        assert result.is_current == result.command.startswith("zoo train")


def test_consecutive_seeds_make_one_result_with_its_spread(table):
    write(table, {}, {"seed": 2, "test_accuracy": 99.7}, OF_OTHER)
    plain, other = read_results(table)
    assert (plain.seeds, plain.test_accuracy, plain.runs) == ([1, 2], pytest.approx(99.6), ["0", "1"])
    assert plain.standard_deviation == pytest.approx(0.1414, abs=1e-4)
    assert plain.sentence() == (
        "99.60 ± 0.14 % on digits (mean and standard deviation of 2 seeds): `zoo train digits_cnn --seeds 2`"
    )
    assert other.sentence() == "99.50 % on digits (seed 1 only): `zoo train digits_cnn --set epochs=3`"
    assert plain.is_current
    assert other.is_current


def test_seeds_apart_are_results_apart(table):
    """`--seeds` trains consecutive ones: another command would not repeat them."""
    write(table, {}, {"seed": 4}, {"seed": 3})
    commands = [result.command for result in read_results(table)]
    assert commands == ["zoo train digits_cnn", "zoo train digits_cnn --seed 3 --seeds 2"]


def test_the_latest_run_of_a_seed_counts(table):
    write(table, {}, {"test_accuracy": 98.0})
    (result,) = read_results(table)
    assert (result.seeds, result.test_accuracy) == ([1], 98.0)


def test_the_best_run_is_the_one_that_validation_chooses(table):
    """A better test accuracy chooses nothing."""
    write(
        table,
        {"validation_accuracy": 99.1, "test_accuracy": 99.2},
        {"seed": 2, "validation_accuracy": 98.9, "test_accuracy": 99.9},
        {"seed": 3, "validation_accuracy": 99.1, "test_accuracy": 99.3},
    )
    (result,) = read_results(table)
    assert result.best == 99.2


def test_without_validation_no_run_is_the_best(table):
    """As runs that trained on everything; nor is one that measured none chosen."""
    write(table, {"validation_accuracy": None}, {"seed": 2, "validation_accuracy": None})
    (result,) = read_results(table)
    assert (result.best, result.test_accuracy) == (None, 99.5)
    write(table, {"validation_accuracy": None}, {"seed": 2, "validation_accuracy": 50.0, "test_accuracy": 60.0})
    assert read_results(table)[0].best == 60.0


def test_an_ensemble_stands_beside_the_networks_that_it_is_made_of(table):
    of_ensemble = {"members": 3, "vote": "majority", "test_accuracy": 99.9}
    write(table, {}, {"seed": 2}, of_ensemble, of_ensemble | {"seed": 2}, of_ensemble | {"vote": "mean"})
    single, *ensembles = read_results(table)
    assert (single.seeds, single.ensemble) == ([1, 2], "")
    assert [(result.seeds, result.ensemble) for result in ensembles] == [
        ([1, 2, 3], "majority vote of 3"),
        ([2, 3, 4], "majority vote of 3"),
        ([1, 2, 3], "mean of 3"),
    ]
    assert ensembles[1].sentence() == (
        "99.90 % on digits (majority vote of 3 networks): `zoo train digits_cnn --seed 2 --seeds 3 && "
        "zoo ensemble digits_cnn --seeds 3 --vote majority`"
    )


def test_what_runs_had_in_common_and_what_not(table):
    write(table, {"machine": "b", "commit": "1"}, {"seed": 2, "machine": "a", "commit": "2"}, {"seed": 3})
    (result,) = read_results(table)
    assert (result.machines, result.commits) == (["a", "b"], ["1", "2", "abc"])


def test_rows_of_a_recipe_that_has_changed_since_are_results_apart(table):
    """Their command goes back to where the recipe was what they were trained with."""
    write(table, {"recipe_digest": "before", "commit": "001bbe086194+changed"}, {}, {"recipe_digest": "", "seed": 2})
    today, *earlier = read_results(table)
    assert today.command == "zoo train digits_cnn"
    assert [result.is_current for result in earlier] == [False, False]
    assert [result.command for result in earlier] == [
        "git checkout abc && zoo train digits_cnn --seed 2",
        "git checkout 001bbe086194 && zoo train digits_cnn",
    ]


def test_rows_of_settings_that_have_become_the_recipes_own_are_of_the_recipe(table):
    """Trained with `--set epochs=24` when the recipe had fewer."""
    write(table, {"settings": "--set epochs=24"}, {"seed": 2})
    (result,) = read_results(table)
    assert (result.seeds, result.command) == ([1, 2], "zoo train digits_cnn --seeds 2")


def test_rows_of_a_recipe_that_is_gone_remain(table):
    write(table, {"recipe": "gone"})
    (result,) = read_results(table)
    assert (result.is_current, result.command) == (False, "git checkout abc && zoo train gone")


def test_the_papers_number_stands_beside_its_recipe_alone(table):
    recipe = load_recipe("lenet5")
    other = recipe.override({"epochs": 3})
    of_lenet5 = {"recipe": "lenet5", "recipe_digest": recipe_digest(recipe)}
    write(table, of_lenet5, of_lenet5 | {"settings": "--set epochs=3", "recipe_digest": recipe_digest(other)}, {})
    digits, lenet5, shorter = read_results(table)
    assert (lenet5.paper, lenet5.paper_source) == (recipe.paper.test_accuracy, recipe.paper.source)
    assert shorter.paper is digits.paper is None


def test_a_broken_table_is_one_sentence(table):
    table.write_text("recipe,settings\nx,\n")
    with pytest.raises(PipelineError, match=r"results\.csv cannot be read"):
        read_results(table)


def test_the_command_lists_them(table, zoo_command, monkeypatch):
    monkeypatch.setattr(results, "TABLE", table)
    write(table, {"machine": "2 cores"}, OF_OTHER)
    status, out, _ = zoo_command("results", "--json")
    assert status == 0
    assert [result["machines"] for result in json.loads(out)] == [["2 cores"], []]
    assert "99.50" in zoo_command("results")[1]


def test_the_command_reads_another_table(table, zoo_command):
    write(table, {"seed": 7})
    (result,) = json.loads(zoo_command("results", "--table", table, "--json")[1])
    assert result["seeds"] == [7]
    status, _, err = zoo_command("results", "--table", table.with_name("none.csv"))
    assert status == 2
    assert "There is no table" in err
