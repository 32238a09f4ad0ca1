"""The table of results: a CSV with a row for each run, which only ever grows.

The project's own is `results.csv`. A row is written from a finished, tracked run of a built-in recipe, or an ensemble
of such runs, so that whoever has the repository can run it again.
"""

import csv
import hashlib
import io
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from filelock import FileLock
from pydantic import BaseModel, BeforeValidator, ConfigDict

from pipelines.errors import PipelineError, UsageError
from pipelines.recipes import REMARKS, Recipe, list_recipes, load_recipe

if TYPE_CHECKING:
    from mlflow.entities import Run

TABLE = Path(__file__).with_name("results.csv")
CHANGED = "+changed"
"""What follows the commit of a row whose sources were changed since."""
_NO_SETTINGS = {*REMARKS, "name", "seed"}

_OR_EMPTY = BeforeValidator(lambda value: None if value == "" else value)
Count = Annotated[int | None, _OR_EMPTY]


class Row(BaseModel):
    """One run. What early versions did not write is empty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    settings: str
    """What differed from the built-in recipe, as arguments of `zoo train`."""
    seed: int
    network: str
    parameters: int
    dataset: str
    dataset_digest: str
    epochs: int
    validation_accuracy: Annotated[float | None, _OR_EMPTY]
    """Percent, of the weights that were kept; None where no images were held out."""
    test_accuracy: float
    """Percent."""
    minutes: float
    commit: str
    date: str
    run_id: str
    recipe_digest: str = ""
    """Of all that decides a run but its seed: says whether the built-in recipe is still the same."""
    operations: Count = None
    """Multiplications and additions of one example's forward pass."""
    machine: str = ""
    members: Count = None
    """Of an ensemble, whose members are the recipe's runs with as many seeds from `seed` on; else empty."""
    vote: str = ""
    """Of an ensemble: mean or majority."""


def recipe_digest(recipe: Recipe) -> str:
    """Twelve characters that stand for all that decides a run but its seed.

    Defaults take no part: a field that recipes gain later does not make the old ones others.
    """
    fields = recipe.model_dump(mode="json", exclude=_NO_SETTINGS, exclude_defaults=True)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def read_rows(table: Path) -> list[Row]:
    """Every row, oldest first; none where there is no such file. Raises PipelineError for a broken table."""
    if not table.exists():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return [Row.model_validate(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"The table of results {table} cannot be read: {reason}.") from error


def append_runs(runs: "Sequence[Run]", table: Path, *, allow_changed: bool = False) -> list[Row]:
    """Add finished runs and ensembles to the table and return their rows; a run that it has already is left alone.

    Raises UsageError for a run that cannot be repeated from the repository: not finished, of a recipe that is not built
    in, or of sources that were changed since their commit. With `allow_changed` the last is a note in the row's commit.
    """
    rows = [_row(run, allow_changed) for run in runs]
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{table}.lock"):
            known = read_rows(table)
            ids = {row.run_id for row in known}
            new = [row for row in rows if row.run_id not in ids]
            if new:
                write_rows(table, [*known, *new])
    except OSError as error:
        raise PipelineError(f"The table of results {table} cannot be written: {error}.") from error
    return rows


def write_rows(table: Path, rows: list[Row]) -> None:
    """Replace the table by one with these rows, in one piece."""
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


def _row(run: "Run", allow_changed: bool) -> Row:
    from pipelines.tracking import recipe_of, validation_accuracy

    metrics, tags, run_id = run.data.metrics, run.data.tags, run.info.run_id
    members = _members(run)
    trained = members or [run]
    recipe = recipe_of(trained[0])
    if recipe.name not in list_recipes():
        raise UsageError(f"Run {run_id} is of '{recipe.name}', no built-in recipe: nobody could repeat it.")
    if run.info.status != "FINISHED" or not {"test_accuracy", "parameters"} <= set(metrics):
        raise UsageError(
            f"Run {run_id} is {run.info.status} and lacks a result; train it to its end with this version."
        )
    changed = any(one.data.tags.get("zoo.git_changed") == "true" for one in [run, *members])
    if changed and not allow_changed:
        raise UsageError(
            f"Run {run_id} was made with sources that were changed since their commit; commit, train again."
        )
    validation = validation_accuracy(run, recipe)
    return Row(
        recipe=recipe.name,
        settings=settings_of(recipe),
        seed=recipe.seed,
        network=recipe.network.name,
        parameters=int(metrics["parameters"]),
        dataset=recipe.dataset.name,
        dataset_digest=tags["zoo.dataset_digest"][:12],
        epochs=recipe.epochs,
        validation_accuracy=None if validation is None else round(100 * validation, 4),
        test_accuracy=round(100 * metrics["test_accuracy"], 4),
        minutes=round(sum(map(_minutes, trained)), 2),
        commit=tags.get("mlflow.source.git.commit", "")[:12] + (CHANGED if changed else ""),
        date=datetime.fromtimestamp(run.info.end_time / 1000, UTC).date().isoformat(),
        run_id=run_id,
        recipe_digest=recipe_digest(recipe),
        operations=int(metrics["operations"]) if "operations" in metrics else None,
        machine=tags.get("zoo.machine", ""),
        members=len(members) or None,
        vote=tags.get("zoo.vote", ""),
    )


def _members(run: "Run") -> "list[Run]":
    """The runs that an ensemble was made of, by seed; none of a training run."""
    from pipelines.tracking import find_run, recipe_of

    members = [find_run(run_id, "train") for run_id in run.data.tags.get("zoo.members", "").split()]
    members.sort(key=lambda member: int(member.data.tags["zoo.seed"]))
    recipes = [recipe_of(member) for member in members]
    seeds = [recipe.seed for recipe in recipes]
    alike = len({(recipe.name, recipe_digest(recipe)) for recipe in recipes}) <= 1
    if members and not (alike and seeds == list(range(seeds[0], seeds[0] + len(seeds)))):
        raise UsageError(
            f"Run {run.info.run_id} is an ensemble of other members than one recipe's runs with consecutive seeds: "
            "the table of results takes those alone."
        )
    return members


def _minutes(run: "Run") -> float:
    """What a run took. One that was interrupted has a pause between its start and its end, and says so itself."""
    return float(run.data.metrics.get("minutes", (run.info.end_time - run.info.start_time) / 60_000))


def settings_of(recipe: Recipe) -> str:
    """What differs from the built-in recipe, as arguments of `zoo train`."""
    built_in, mine = (r.model_dump(mode="json", exclude=_NO_SETTINGS) for r in (load_recipe(recipe.name), recipe))
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
