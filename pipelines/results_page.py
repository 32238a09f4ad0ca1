"""The results as Markdown: `docs/results.md`, and the README's short table."""

from collections.abc import Iterable

from pipelines.results import Result

HEAD = """# Results

Written by `zoo results --markdown` from [pipelines/results.csv](../pipelines/results.csv), which has a row for each run
and only ever grows; a test keeps this page current.

*Test accuracy* is the mean ± standard deviation over consecutive seeds. Every setting was chosen by validation, and the
test images are read once, at the end of a run. *Best* is the test accuracy of the run with the best validation accuracy
among those seeds: the number to hold beside a text that reports the best of several runs, as Nielsen's does. *Paper* is
what the recipe's source reports. *Operations* are the multiplications and additions of one example's forward pass.
*Minutes* are those of one run, from loading the data to the evaluation, on the machine named; early rows do not name
theirs. An ensemble has the parameters, operations and minutes of all its members.

`zoo reproduce PATTERN` trains what a recipe's result lacks and adds it; with `--table FILE` it trains everything anew,
into a table of your own.

## Accuracy

"""
COST = """
## Cost and origin

"""
EARLIER = """
## Earlier settings

Of recipes that have changed since. The command goes back to the commit that the runs were made with.

"""


def short_table(results: Iterable[Result]) -> str:
    """Today's recipes, a row each: what the README shows."""
    heads = ["recipe", "dataset", "parameters", "test accuracy", "paper", "seeds", "minutes"]
    rows = [
        [
            _name(result),
            result.dataset,
            f"{result.parameters:,}",
            result.accuracy(),
            _percent(result.paper),
            str(len(result.seeds)),
            f"{result.minutes:.1f}",
        ]
        for result in results
        if result.is_current
    ]
    return _table(heads, "llrrrrr", rows)


def results_page(results: Iterable[Result]) -> str:
    """`docs/results.md`."""
    found = list(results)
    today = [result for result in found if result.is_current]
    earlier = [result for result in found if not result.is_current]
    page = HEAD + _accuracies(today) + COST + _costs(today)
    return page + (EARLIER + _accuracies(earlier) + "\n" + _costs(earlier) if earlier else "")


def _accuracies(results: list[Result]) -> str:
    heads = ["recipe", "network", "dataset", "seeds", "test accuracy", "best", "paper", "source"]
    rows = [
        [
            _name(result),
            f"`{result.network}`",
            result.dataset,
            _seeds(result.seeds),
            result.accuracy(),
            _percent(result.best),
            _percent(result.paper),
            result.paper_source,
        ]
        for result in results
    ]
    return _table(heads, "lllrrrrl", rows)


def _costs(results: list[Result]) -> str:
    heads = ["recipe", "parameters", "operations", "epochs", "minutes", "machine", "commit", "command"]
    rows = [
        [
            _name(result),
            f"{result.parameters:,}",
            f"{result.operations:,}" if result.operations else "",
            str(result.epochs),
            f"{result.minutes:.1f}",
            "; ".join(result.machines),
            ", ".join(result.commits),
            f"`{result.command}`",
        ]
        for result in results
    ]
    return _table(heads, "lrrrrlll", rows)


def _name(result: Result) -> str:
    return f"`{result.title}`" + (f", {result.ensemble}" if result.vote else "")


def _seeds(seeds: list[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.2f} %"


def _table(heads: list[str], alignment: str, rows: list[list[str]]) -> str:
    """A Markdown table; a letter of `alignment`, l or r, for each column."""
    lines = [heads, [{"l": "---", "r": "---:"}[side] for side in alignment], *rows]
    # A vertical bar in a command would end its cell.
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
