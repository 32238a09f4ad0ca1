"""The table of results: written from tracked runs, never rewritten."""

import copy
import csv
import json
import shlex

import pytest

from pipelines import results, results_table
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe, parse_assignments
from pipelines.results import record
from pipelines.results_table import append_runs, read_rows, recipe_digest, settings_of
from pipelines.tracking import find_run, recipe_of

EARLY = """\
recipe,settings,seed,network,parameters,dataset,dataset_digest,epochs,validation_accuracy,test_accuracy,minutes,commit,date,run_id
digits_cnn,,1,mnist_cnn_dropout,80202,digits,2620c69c2b03,24,99.3333,99.4444,0.07,001bbe086194,2026-11-21,cede
"""


@pytest.fixture
def table(tmp_path):
    """A table as early versions wrote it, with one row."""
    table = tmp_path / "results.csv"
    table.write_text(EARLY)
    return table


@pytest.fixture
def run(published_home, monkeypatch):
    """A tracked run, as of sources that are committed."""
    found = find_run(published_home.run.run_id)
    monkeypatch.setitem(found.data.tags, "zoo.git_changed", "false")
    return found


def test_a_tracked_run_becomes_a_row_once(published_home, run, table, monkeypatch):
    monkeypatch.setitem(run.data.tags, "zoo.machine", "a machine, 2 cores")
    monkeypatch.setitem(run.data.metrics, "operations", 1234.0)
    monkeypatch.setitem(run.data.metrics, "minutes", 1.5)
    (row,) = append_runs([run], table)
    assert append_runs([run], table) == [row]
    _, last = read_rows(table)
    assert last == row
    trained = published_home.run
    assert row.run_id == trained.run_id
    assert row.test_accuracy == pytest.approx(100 * trained.test_accuracy, abs=1e-3)
    assert row.validation_accuracy == pytest.approx(100 * trained.validation_accuracy, abs=1e-3)
    assert row.parameters == sum(w.size for w in trained.model.get_weights())
    assert (row.machine, row.operations, row.minutes) == ("a machine, 2 cores", 1234, 1.5)
    assert row.recipe_digest == recipe_digest(trained.recipe)


def test_what_an_early_version_wrote_survives_in_the_columns_that_came_later(run, table):
    append_runs([run], table)
    with table.open(newline="") as file:
        early, _ = csv.DictReader(file)
    (before,) = csv.DictReader(EARLY.splitlines())
    assert {name: early[name] for name in before} == before
    assert {early[name] for name in set(early) - set(before)} == {""}
    # From here on the file is only added to.
    text = table.read_text()
    run.info._run_id = "another"
    append_runs([run], table)
    assert table.read_text().startswith(text)


@pytest.fixture
def ensemble(run, monkeypatch):
    """A tracked ensemble of three runs of one recipe, put together from what they record; the last is named first."""
    runs, recipes = {}, {}
    for seed in (4, 2, 3):
        member = runs[str(seed)] = copy.deepcopy(run)
        member.data.tags["zoo.seed"] = str(seed)
        member.data.metrics["minutes"] = 1.0
        member.info._run_id = str(seed)
        recipes[str(seed)] = recipe_of(run).override({"seed": seed})
    made = copy.deepcopy(run)
    made.info._run_id = "ensemble"
    made.data.tags.update({"zoo.kind": "ensemble", "zoo.members": " ".join(runs), "zoo.vote": "majority"})
    made.data.metrics.update(parameters=3 * run.data.metrics["parameters"], operations=300.0)
    monkeypatch.setattr("pipelines.tracking.find_run", lambda reference, *kinds: runs[reference])
    monkeypatch.setattr("pipelines.tracking.recipe_of", lambda run: recipes[run.info.run_id])
    made.recipes = recipes
    return made


def test_an_ensemble_is_a_row_with_the_costs_of_its_members(run, ensemble, table):
    (row,) = append_runs([ensemble], table)
    assert (row.recipe, row.seed, row.members, row.vote, row.run_id) == ("digits_cnn", 2, 3, "majority", "ensemble")
    assert (row.operations, row.minutes) == (300, 3.0)
    assert row.parameters == 3 * run.data.metrics["parameters"]


@pytest.mark.parametrize("changes", [{"seed": 7}, {"epochs": 9}])
def test_an_ensemble_of_what_no_command_makes_again_is_refused(ensemble, table, changes):
    ensemble.recipes["4"] = ensemble.recipes["4"].override(changes)
    refused(ensemble, table, "other members than one recipe's runs with consecutive seeds")


def test_the_command_adds(published_home, run, table, zoo_command, monkeypatch):
    monkeypatch.setattr(results, "TABLE", table)
    monkeypatch.setattr("pipelines.tracking.find_run", lambda reference, *kinds: run)
    status, out, _ = zoo_command("results", run.info.run_id, "--json")
    assert status == 0
    assert [result["runs"] for result in json.loads(out)] == [[run.info.run_id]]
    assert len(read_rows(table)) == 2


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
    words = shlex.split(settings_of(recipe))
    assert set(words[::2]) == {"--set"}
    again = load_recipe("digits_cnn").override(parse_assignments(words[1::2]))
    assert again == recipe
    assert recipe_digest(again) == recipe_digest(recipe) != recipe_digest(load_recipe("digits_cnn"))


@pytest.mark.parametrize("changes", [{"seed": 9}, {"seeds": 1}, {"description": "other words"}, {"keep": "last"}])
def test_what_decides_nothing_or_is_the_default_makes_no_other_recipe(changes):
    recipe = load_recipe("digits_cnn")
    assert recipe_digest(recipe.override(changes)) == recipe_digest(recipe)


def refused(run, table, says):
    with pytest.raises(UsageError, match=says):
        record([run], table)
    assert table.read_text() == EARLY


def test_a_run_that_nobody_could_repeat_is_refused(run, table, monkeypatch):
    monkeypatch.setattr(results_table, "list_recipes", lambda: ["other"])
    refused(run, table, "no built-in recipe")


def test_a_run_of_changed_sources_is_refused(run, table, monkeypatch):
    monkeypatch.setitem(run.data.tags, "zoo.git_changed", "true")
    refused(run, table, "changed since their commit; commit, train again")


def test_where_changed_sources_are_allowed_the_commit_says_so(run, table, monkeypatch):
    monkeypatch.setitem(run.data.tags, "zoo.git_changed", "true")
    monkeypatch.setitem(run.data.tags, "mlflow.source.git.commit", "0123456789abcdef")
    (row,) = append_runs([run], table, allow_changed=True)
    assert row.commit == "0123456789ab+changed"


def test_a_run_without_a_result_is_refused(run, table, monkeypatch):
    monkeypatch.delitem(run.data.metrics, "parameters")
    refused(run, table, "lacks a result; train it to its end")
