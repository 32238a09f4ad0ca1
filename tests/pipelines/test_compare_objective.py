"""`zoo compare` on what searches made large or small."""

import json
import re

import pytest

from pipelines.comparison import draw_together, read_runs, trials_of
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, track
from pipelines.tuning.trials import OBJECTIVES

pytestmark = pytest.mark.usefixtures("store")
DIGITS = load_recipe("digits_cnn").override({"search": {}})


def compared(zoo_command, *arguments):
    status, out, err = zoo_command("compare", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def searched(objective, *trials):
    """The id of a search for this objective, with trials of these values an epoch, of which the best is recorded."""
    best = min if objective.endswith("loss") else max
    with track(DIGITS, "search", more_tags={"zoo.search.objective": objective}) as run:
        for number, values in enumerate(trials):
            with track(DIGITS, "trial", parent=run.id, more_tags={"zoo.trial": str(number)}) as trial:
                for epoch, value in enumerate(values, 1):
                    trial.log_epoch(epoch, {objective: value})
                if values:
                    trial.log_metrics({"objective": best(values)})
    return run.id


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trials_are_sorted_by_what_decided_their_search(zoo_command, objective):
    """By the best epoch's value, whatever the last one's; and by any metric that can be an objective."""
    trials = ([0.5, 0.5], [], [0.3, 0.9], [0.4, 0.4]) if objective.endswith("loss") else ([0.5], [], [0.9, 0.3], [0.6])
    search = searched(objective, *trials)
    result = compared(zoo_command, "--search", search)["runs"]
    assert [run["trial"] for run in result] == [2, 3, 0, 1]
    assert {run["objective"] for run in result} == {objective}
    assert [run["metrics"].get("objective") for run in result] == [trials[2][0], trials[3][0], trials[0][0], None]
    last = compared(zoo_command, "--search", search, "--metric", objective)["runs"]
    assert [run["trial"] for run in last] == [3, 0, 2, 1]


def test_the_table_names_the_objective_and_shows_training_metrics_when_asked(zoo_command):
    search = searched("loss", [0.5, 0.7], [0.25])
    _, out, _ = zoo_command("compare", "--search", search)
    assert re.search(r"objective\s", out)
    assert "training loss" in " ".join(out.split())
    assert ("0.2500" in out, "0.5000" in out, "0.7000" in out) == (True, True, False)
    assert "0.7000" in zoo_command("compare", "--search", search, "--metric", "loss")[1]


def test_an_objective_of_several_searches_is_none(zoo_command):
    runs = [run.info.run_id for objective in ("loss", "val_loss") for run in trials_of(searched(objective, [1], [2]))]
    assert len(compared(zoo_command, *runs)["runs"]) == 4
    status, out, err = zoo_command("compare", *runs, "--metric", "objective")
    assert (status, out) == (2, "")
    assert "these trials have several (loss, val_loss)" in " ".join(err.split())


def test_a_run_that_its_search_trained_again_has_no_objective():
    search = searched("loss", [0.5])
    with track(DIGITS, "train", parent=search) as winner:
        pass
    runs = read_runs([connect().get_run(winner.id), find_run("digits_cnn", "trial")])
    assert [run.objective for run in runs] == [None, "loss"]


def test_of_many_trials_those_are_drawn_that_did_best_what_was_searched_for():
    trials = trials_of(searched("loss", *([number, 9] for number in range(14))))
    figure = draw_together(read_runs(trials), "trials", "objective")
    drawn = [text.get_text().split(" ", 1)[1] for text in figure.legends[0].get_texts()]
    assert drawn == [f"trial {number}" for number in range(12)]
