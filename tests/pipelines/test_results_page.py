"""The results as Markdown and as the ladder's picture."""

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from pipelines.figures.ladder import ladder_figure
from pipelines.ladder import RUNGS, ladder
from pipelines.recipes import list_recipes, load_recipe
from pipelines.results import Result, read_results
from pipelines.results_page import results_page, short_table

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


@pytest.fixture
def result():
    return Result(
        recipe="mnist_fc_faithful",
        settings="",
        is_current=True,
        network="mnist_fc",
        parameters=79_510,
        operations=158_800,
        dataset="mnist",
        dataset_digest="0123456789ab",
        epochs=60,
        seeds=[1, 2, 3],
        test_accuracy=97.91,
        vote="",
        standard_deviation=0.05,
        best=97.88,
        paper=97.80,
        paper_source="the text",
        minutes=12.34,
        machines=["a machine, 2 cores"],
        commits=["abc"],
        runs=["1", "2", "3"],
        command="zoo train mnist_fc_faithful --seeds 3",
    )


def cells(markdown, recipe="mnist_fc_faithful"):
    """The cells of every row of a recipe."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| `{recipe}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == results_page(read_results()), "Run: zoo results --markdown > docs/results.md"


def test_the_page_has_what_was_measured_and_how(result):
    accuracy, cost = cells(results_page([result]))
    assert accuracy[1:] == ["`mnist_fc`", "mnist", "1 to 3", "97.91 ± 0.05 %", "97.88 %", "97.80 %", "the text"]
    assert cost[1:7] == ["79,510", "158,800", "60", "12.3", "a machine, 2 cores", "abc"]
    assert cost[7] == "`zoo train mnist_fc_faithful --seeds 3`"


def test_earlier_settings_are_told_apart(result):
    earlier = result.model_copy(update={"is_current": False, "test_accuracy": 97.0})
    assert "Earlier settings" not in results_page([result])
    today, _, before = results_page([result, earlier]).partition("## Earlier settings")
    assert "97.91" in today
    assert "97.00" not in today
    assert "97.00" in before
    assert cells(short_table([result, earlier])) == cells(short_table([result]))


def test_a_bar_in_a_command_ends_no_cell(result):
    (row,) = re.findall(r".*a\\\|b.*", results_page([result.model_copy(update={"command": "zoo train a|b"})]))
    assert row.count("|") - row.count(r"\|") == 9


def test_every_rung_with_a_recipe_is_on_the_ladder(result):
    *rungs, top = ladder([result])
    assert [rung.text for rung in rungs] == [
        load_recipe(name).paper.test_accuracy for _, name in RUNGS if name in list_recipes()
    ]
    assert (rungs[0].ours, rungs[0].spread, rungs[0].best) == (97.91, 0.05, 97.88)
    assert {rung.ours for rung in [*rungs[1:], top]} == {None}
    texts = [rung.text for rung in [*rungs, top]]
    assert texts == sorted(texts)


def test_the_last_rung_is_the_vote_of_five(result):
    vote = {
        "recipe": "mnist_dropout_faithful",
        "vote": "majority",
        "seeds": [1, 2, 3, 4, 5],
        "standard_deviation": None,
    }
    ensemble = result.model_copy(update=vote | {"test_accuracy": 99.7})
    four = ensemble.model_copy(update={"seeds": [1, 2, 3, 4], "test_accuracy": 99.6})
    assert [rung.ours for rung in ladder([four, ensemble])][-2:] == [None, 99.7]
    assert "| `mnist_dropout_faithful`, majority vote of 5 |" in short_table([ensemble])


def test_other_settings_are_no_rung(result):
    earlier = result.model_copy(update={"is_current": False})
    other = result.model_copy(update={"settings": "--set epochs=3"})
    assert {rung.ours for rung in ladder([earlier, other])} == {None}


def test_the_figure_shows_both_numbers(result):
    (axes,) = ladder_figure(ladder([result])).axes
    shown = [text.get_text() for text in axes.texts]
    assert "97.91" in shown
    assert "97.80" in shown
    low, high = axes.get_ylim()
    assert low < 97.80 < 99.60 < high < 100
    assert len(ladder_figure(ladder([])).axes[0].containers) == 0


def test_the_command_draws_it(tmp_path, zoo_command):
    file = tmp_path / "new" / "ladder.png"
    status, out, _ = zoo_command("results", "--figure", file)
    assert (status, out.strip()) == (0, str(file))
    assert imread(file).std() > 0.05
    assert [path.name for path in file.parent.iterdir()] == ["ladder.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--short"], "--short is of the Markdown"),
        (["--figure", "ladder.jpg"], "'ladder.jpg' is no PNG file"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, says, zoo_command):
    status, _, err = zoo_command("results", *arguments)
    assert status == 2
    assert says in err
