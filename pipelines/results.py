"""What the project claims to have measured: runs of one recipe with consecutive seeds make a mean with its spread.

The runs are rows of the table in `pipelines.results_table`.
"""

import shlex
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from pipelines.errors import UsageError
from pipelines.recipes import Recipe, Reported, list_recipes, load_recipe, parse_assignments
from pipelines.results_table import CHANGED, TABLE, Row, append_runs, read_rows, recipe_digest

if TYPE_CHECKING:
    from mlflow.entities import Run

ENSEMBLES = {
    ("mnist_dropout_faithful", "majority", 5): Reported(
        test_accuracy=99.67, source="Nielsen, Neural Networks and Deep Learning, chapter 6"
    )
}
"""What texts report for ensembles of a recipe's runs, by recipe, vote and number of members."""


class Result(BaseModel):
    """Runs of one recipe and setting with consecutive seeds."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    settings: str
    """What differs from the built-in recipe, as arguments of `zoo train`."""
    is_current: bool
    """Whether the built-in recipe of today, with these settings, is the one that was trained."""
    network: str
    parameters: int
    operations: int | None
    """Multiplications and additions of one example's forward pass."""
    dataset: str
    dataset_digest: str
    epochs: int
    seeds: list[int]
    """Of the runs, or of an ensemble's members."""
    vote: str
    """Of an ensemble: mean or majority; else empty."""
    test_accuracy: float
    """Mean, percent."""
    standard_deviation: float | None
    """Percent; None of a single run and of an ensemble."""
    best: float | None
    """Test accuracy of the run with the best validation accuracy, percent; None where no images were held out."""
    paper: float | None
    """What the recipe's paper reports, percent; None where it reports nothing, or where the settings are others."""
    paper_source: str
    minutes: float
    """Mean of a run; of an ensemble the sum of its members'."""
    machines: list[str]
    commits: list[str]
    runs: list[str]
    """Their ids, by seed."""
    command: str

    @property
    def title(self) -> str:
        """The recipe with what was changed of it."""
        return f"{self.recipe} {self.settings}".strip()

    @property
    def ensemble(self) -> str:
        """`majority vote of 5`; nothing for single networks."""
        how = {"mean": "mean", "majority": "majority vote"}.get(self.vote, self.vote)
        return f"{how} of {len(self.seeds)}" if self.vote else ""

    def accuracy(self) -> str:
        """`99.50 ± 0.23 %`."""
        spread = "" if self.standard_deviation is None else f" ± {self.standard_deviation:.2f}"
        return f"{self.test_accuracy:.2f}{spread} %"

    def sentence(self) -> str:
        """`99.50 ± 0.23 % on digits (mean and standard deviation of 5 seeds): zoo train digits_cnn --seeds 5`."""
        count = len(self.seeds)
        of = f"mean and standard deviation of {count} seeds" if count > 1 else f"seed {self.seeds[0]} only"
        of = f"{self.ensemble} networks" if self.vote else of
        return f"{self.accuracy()} on {self.dataset} ({of}): `{self.command}`"


def read_results(table: Path | None = None) -> list[Result]:
    """Every result, by recipe, today's recipes first. Of two runs of one seed the later counts.

    Raises PipelineError for a broken table.
    """
    built_in = {name: load_recipe(name) for name in list_recipes()}
    return list(_results(read_rows(table or TABLE), built_in))


def record(runs: "Sequence[Run]", table: Path | None = None, *, allow_changed: bool = False) -> list[Result]:
    """Add finished training runs to the table, as `append_runs` does, and return the results that they belong to."""
    table = table or TABLE
    mine = {row.run_id for row in append_runs(runs, table, allow_changed=allow_changed)}
    return [result for result in read_results(table) if mine & set(result.runs)]


def _results(rows: list[Row], built_in: dict[str, Recipe]) -> Iterator[Result]:
    key = partial(_key, built_in=built_in)
    latest = {(key(row), row.seed): row for row in rows}
    ordered = [latest[k] for k in sorted(latest)]
    for _, of_one_setting in groupby(ordered, key):
        stretch: list[Row] = []
        for row in of_one_setting:
            if stretch and (row.members or row.seed != stretch[-1].seed + 1):
                yield _result(stretch, built_in)
                stretch = []
            stretch.append(row)
        yield _result(stretch, built_in)


def _key(row: Row, built_in: dict[str, Recipe]) -> tuple[str, bool, str, str, str, int, str]:
    """What rows of one result share, in the order of the list."""
    settings = _settings_today(row, built_in.get(row.recipe))
    shown = row.settings if settings is None else settings
    return row.recipe, settings is None, shown, row.recipe_digest, row.dataset_digest, row.members or 0, row.vote


def _settings_today(row: Row, built_in: Recipe | None) -> str | None:
    """The arguments with which `zoo train` of today's recipe repeats the run; None where none are known."""
    if built_in is None:
        return None
    if row.recipe_digest == recipe_digest(built_in):
        return ""
    try:
        changed = built_in.override(parse_assignments(shlex.split(row.settings)[1::2]))
    except UsageError:
        return None
    return row.settings if row.recipe_digest == recipe_digest(changed) else None


def _result(rows: list[Row], built_in: dict[str, Recipe]) -> Result:
    first, last = rows[0], max(rows, key=lambda row: row.date)
    seeds = list(range(first.seed, first.seed + first.members)) if first.members else [row.seed for row in rows]
    accuracies = [row.test_accuracy for row in rows]
    recipe = built_in.get(first.recipe)
    settings = _settings_today(first, recipe)
    shown = first.settings if settings is None else settings
    paper = _paper(first, recipe) if recipe and not shown else None
    return Result(
        recipe=first.recipe,
        settings=shown,
        is_current=settings is not None,
        network=first.network,
        parameters=first.parameters,
        operations=first.operations,
        dataset=first.dataset,
        dataset_digest=first.dataset_digest,
        epochs=first.epochs,
        seeds=seeds,
        vote=first.vote,
        test_accuracy=statistics.mean(accuracies),
        standard_deviation=statistics.stdev(accuracies) if len(rows) > 1 else None,
        best=_best(rows),
        paper=paper.test_accuracy if paper else None,
        paper_source=paper.source if paper else "",
        minutes=statistics.mean(row.minutes for row in rows),
        machines=sorted({row.machine for row in rows if row.machine}),
        commits=sorted({row.commit for row in rows}),
        runs=[row.run_id for row in rows],
        command=_command(first, shown, seeds, recipe, None if settings is not None else last.commit),
    )


def _best(rows: list[Row]) -> float | None:
    """Test accuracy of the run that validation chooses; None where it measured none."""
    measured = [row for row in rows if row.validation_accuracy is not None]
    return max(measured, key=lambda row: row.validation_accuracy or 0.0).test_accuracy if measured else None


def _paper(row: Row, recipe: Recipe) -> Reported | None:
    return ENSEMBLES.get((row.recipe, row.vote, row.members)) if row.members else recipe.paper


def _command(row: Row, settings: str, seeds: list[int], recipe: Recipe | None, commit: str | None) -> str:
    """What trains these seeds again; `commit` is the one whose recipe they are of, where today's is another."""
    command = f"zoo train {row.recipe} {settings}".strip()
    if seeds[0] != (recipe.seed if recipe else 1):
        command += f" --seed {seeds[0]}"
    if len(seeds) > 1:
        command += f" --seeds {len(seeds)}"
    if row.members:
        command += f" && zoo ensemble {row.recipe} --seeds {len(seeds)} --vote {row.vote}"
    return f"git checkout {commit.removesuffix(CHANGED)} && {command}" if commit else command
