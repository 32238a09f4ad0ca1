"""What the project claims to have measured: a row for each run in `results.csv`, which only ever grows.

A row is written from a tracked run of a built-in recipe, so that whoever has the repository can run it again. Rows of
the same recipe, settings and data with consecutive seeds make one result, a mean with its spread.
"""

import csv
import io
import json
import os
import shlex
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from pipelines.errors import PipelineError, UsageError
from pipelines.recipes import REMARKS, Recipe, list_recipes, load_recipe

if TYPE_CHECKING:
    from mlflow.entities import Run

TABLE = Path(__file__).with_name("results.csv")


class Row(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    settings: str
    """What differs from the built-in recipe, as arguments of `zoo train`."""
    seed: int
    network: str
    parameters: int
    dataset: str
    dataset_digest: str
    epochs: int
    validation_accuracy: float
    """Percent."""
    test_accuracy: float
    """Percent."""
    minutes: float
    commit: str
    date: str
    run_id: str


class Result(BaseModel):
    """Runs of one recipe and setting with consecutive seeds."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    settings: str
    network: str
    parameters: int
    dataset: str
    dataset_digest: str
    epochs: int
    seeds: list[int]
    test_accuracy: float
    """Mean, percent."""
    standard_deviation: float | None
    """Percent; None of a single run."""
    minutes: float
    """Mean of a run."""
    command: str

    def accuracy(self) -> str:
        """`99.50 ± 0.23 %`."""
        spread = "" if self.standard_deviation is None else f" ± {self.standard_deviation:.2f}"
        return f"{self.test_accuracy:.2f}{spread} %"

    def sentence(self) -> str:
        """`99.50 ± 0.23 % on digits (mean and standard deviation of 5 seeds): zoo train digits_cnn --seeds 5`."""
        count = len(self.seeds)
        of = f"mean and standard deviation of {count} seeds" if count > 1 else f"seed {self.seeds[0]} only"
        return f"{self.accuracy()} on {self.dataset} ({of}): `{self.command}`"


def read_results(table: Path | None = None) -> list[Result]:
    """Every result, by recipe. Of two runs of one seed the later counts. Raises PipelineError for a broken table."""
    latest = {_key(row): row for row in _read(table or TABLE)}
    stretches: list[list[Row]] = []
    for row in sorted(latest.values(), key=_key):
        last = stretches[-1][-1] if stretches else None
        if last and _key(last) == (*_key(row)[:-1], row.seed - 1):
            stretches[-1].append(row)
        else:
            stretches.append([row])
    return [_result(rows) for rows in stretches]


def record(runs: "list[Run]", table: Path | None = None) -> list[Result]:
    """Add finished training runs to the table and return the results that they belong to.

    A run that the table has already is left alone. Raises UsageError for a run that cannot be repeated from the
    repository: not finished, of a recipe that is not built in, or of sources that were changed since their commit.
    """
    rows, table = [_row(run) for run in runs], table or TABLE
    with FileLock(f"{table}.lock"):
        known = _read(table)
        ids = {row.run_id for row in known}
        new = [row for row in rows if row.run_id not in ids]
        if new:
            _write(table, [*known, *new])
    mine = {_key(row)[:-1] for row in rows}
    return [result for result in read_results(table) if (result.recipe, result.settings, result.dataset_digest) in mine]


def to_markdown(results: list[Result]) -> str:
    """The results as the README's table."""
    lines = ["| recipe | network | parameters | dataset | test accuracy | seeds | minutes | command |"]
    lines.append("|---|---|---:|---|---:|---:|---:|---|")
    for result in results:
        cells = [f"`{result.recipe}`", f"`{result.network}`", f"{result.parameters:,}", result.dataset]
        cells += [result.accuracy(), str(len(result.seeds)), f"{result.minutes:.1f}", f"`{result.command}`"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _row(run: "Run") -> Row:
    from pipelines.tracking import recipe_of

    recipe, metrics, tags, run_id = recipe_of(run), run.data.metrics, run.data.tags, run.info.run_id
    if recipe.name not in list_recipes():
        raise UsageError(f"Run {run_id} is of '{recipe.name}', no built-in recipe: nobody could repeat it.")
    if run.info.status != "FINISHED" or not {"test_accuracy", "parameters"} <= set(metrics):
        raise UsageError(
            f"Run {run_id} is {run.info.status} and lacks a result; train it to its end with this version."
        )
    if tags.get("zoo.git_changed") == "true":
        raise UsageError(
            f"Run {run_id} was made with sources that were changed since their commit; commit, train again."
        )
    return Row(
        recipe=recipe.name,
        settings=_settings(recipe),
        seed=recipe.seed,
        network=recipe.network.name,
        parameters=int(metrics["parameters"]),
        dataset=recipe.dataset.name,
        dataset_digest=tags["zoo.dataset_digest"][:12],
        epochs=recipe.epochs,
        validation_accuracy=round(100 * metrics["val_accuracy"], 4),
        test_accuracy=round(100 * metrics["test_accuracy"], 4),
        minutes=round((run.info.end_time - run.info.start_time) / 60_000, 2),
        commit=tags.get("mlflow.source.git.commit", "")[:12],
        date=datetime.fromtimestamp(run.info.end_time / 1000, UTC).date().isoformat(),
        run_id=run_id,
    )


def _settings(recipe: Recipe) -> str:
    """What differs from the built-in recipe, as arguments of `zoo train`."""
    ignored = {*REMARKS, "seed"}
    built_in, mine = (r.model_dump(mode="json", exclude=ignored) for r in (load_recipe(recipe.name), recipe))
    # JSON is YAML, which `--set` reads.
    return " ".join(f"--set {shlex.quote(f'{name}={json.dumps(v)}')}" for name, v in _differing(built_in, mine, ""))


def _differing(before: dict[str, Any], after: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """The fields that differ, by their dotted names; in one piece where single ones would leave something over."""
    for name, value in after.items():
        if value == before.get(name):
            continue
        if isinstance(value, dict) and isinstance(before.get(name), dict) and set(before[name]) <= set(value):
            yield from _differing(before[name], value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _key(row: Row) -> tuple[str, str, str, int]:
    return row.recipe, row.settings, row.dataset_digest, row.seed


def _result(rows: list[Row]) -> Result:
    first, seeds = rows[0], [row.seed for row in rows]
    accuracies = [row.test_accuracy for row in rows]
    command = f"zoo train {first.recipe} {first.settings}".strip()
    usual = load_recipe(first.recipe).seed if first.recipe in list_recipes() else 1
    if seeds[0] != usual:
        command += f" --seed {seeds[0]}"
    return Result(
        recipe=first.recipe,
        settings=first.settings,
        network=first.network,
        parameters=first.parameters,
        dataset=first.dataset,
        dataset_digest=first.dataset_digest,
        epochs=first.epochs,
        seeds=seeds,
        test_accuracy=statistics.mean(accuracies),
        standard_deviation=statistics.stdev(accuracies) if len(rows) > 1 else None,
        minutes=statistics.mean(row.minutes for row in rows),
        command=command + (f" --seeds {len(rows)}" if len(rows) > 1 else ""),
    )


def _read(table: Path) -> list[Row]:
    if not table.exists():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return [Row.model_validate(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"The table of results {table} cannot be read: {reason}.") from error


def _write(table: Path, rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    staged = table.with_suffix(f".{os.getpid()}.tmp")
    try:
        staged.write_text(text.getvalue(), "utf-8")
        staged.replace(table)
    finally:
        staged.unlink(missing_ok=True)
