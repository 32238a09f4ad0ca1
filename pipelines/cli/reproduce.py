"""`zoo reproduce`."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from filelock import FileLock, Timeout
from rich import box
from rich.table import Column, Table

from pipelines.cli.console import err, out, print_json
from pipelines.cli.results import TableOption
from pipelines.cli.train import JsonOption
from pipelines.errors import PipelineError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pipelines.cli.progress import TrainingProgress
    from pipelines.recipes import Recipe
    from pipelines.reproduction import Entry, Failure
    from pipelines.results_table import Row


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reproduce)


def reproduce(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Recipes by name, as in 'mnist_*'.")] = "*",
    budget: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0, help="Stop after this time; the next call goes on.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is missing.")] = False,
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train what the table of results lacks of the built-in recipes, and add each run to it as it finishes.

    Stopped at any moment, even killed, the same command goes on with the run that was interrupted. The project's table
    takes runs of committed sources alone; in a table of your own, the commit of others ends in +changed.
    """
    deadline = None if budget is None else time.monotonic() + 3600 * budget
    from serving.quiet import import_tensorflow

    with err.status("[dim]looking for what is missing[/dim]"):
        import_tensorflow()
        from pipelines.home import home
        from pipelines.reproduction import plan
        from pipelines.results_table import TABLE

        entries = plan(pattern, table or TABLE)
    if not as_json or not dry_run:
        _show_plan(entries, out if dry_run else err)
    if dry_run:
        if as_json:
            print_json(_as_json(entries, [], [], table or TABLE))
        return
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "reproduce.lock", timeout=0):
            rows, failures = _work(entries, table, deadline)
    except Timeout as error:
        raise PipelineError(
            f"Another zoo reproduce is at work in {folder}; wait for it, or set ZOO_HOME to another folder."
        ) from error
    if as_json:
        print_json(_as_json(entries, rows, failures, table or TABLE))
    else:
        _say_what_was_done(entries, rows, failures, table)
    if failures:
        first = failures[0]
        raise PipelineError(f"{first.recipe.name} seed {first.recipe.seed} failed: {first.reason}")
    unavailable = [entry for entry in entries if entry.reason and entry.recipe.seeds]
    if unavailable and len(unavailable) == len(entries):
        raise PipelineError(unavailable[0].reason)


def _work(entries: "list[Entry]", table: "Path | None", deadline: float | None) -> "tuple[list[Row], list[Failure]]":
    """Train and append; what finished and what failed."""
    from pipelines.reproduction import Failure
    from pipelines.reproduction import reproduce as reproduce_now
    from pipelines.results_table import TABLE

    rows: list[Row] = []
    failures: list[Failure] = []
    count = sum(len(entry.missing) for entry in entries)

    def watch(recipe: "Recipe") -> "TrainingProgress":
        from pipelines.cli.progress import TrainingProgress

        err.print(f"[dim]{len(rows) + 1} of {count}: {recipe.name}, seed {recipe.seed}[/dim]")
        return TrainingProgress(f"{recipe.name} seed {recipe.seed}")

    for outcome in reproduce_now(entries, table or TABLE, watch, deadline=deadline, allow_changed=table is not None):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            err.print(f"{outcome.recipe.name}, seed {outcome.recipe.seed}: {outcome.reason}", markup=False)
        else:
            rows.append(outcome)
            err.print(
                f"{outcome.recipe}, seed {outcome.seed}: test accuracy {outcome.test_accuracy:.2f} % "
                f"in {outcome.minutes:.1f} minutes"
            )
    return rows, failures


def _say_what_was_done(
    entries: "list[Entry]", rows: "list[Row]", failures: "list[Failure]", table: "Path | None"
) -> None:
    from pipelines.cli.results import results_table
    from pipelines.results import read_results
    from pipelines.results_table import TABLE

    if rows:
        mine = {row.run_id for row in rows}
        out.print(results_table([result for result in read_results(table) if mine & set(result.runs)]))
    left = _left(entries, rows)
    if not any(entry.missing for entry in entries):
        out.print("Nothing is missing." if not any(entry.reason for entry in entries) else "Nothing can be trained.")
    elif len(left) > len(failures):
        out.print(f"{len(left)} of {len(left) + len(rows)} runs are still missing; the same command goes on.")
    else:
        out.print(f"{len(rows)} runs were added to {table or TABLE}.", markup=False)


def _show_plan(entries: "list[Entry]", console: "Console") -> None:
    """What is there and what is missing as a table, and below it what cannot be trained."""
    columns = [Column("recipe", no_wrap=True), Column("dataset", no_wrap=True)]
    columns += [Column(name, justify="right") for name in ("seeds there", "missing", "minutes a run", "in all")]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for entry in entries:
        if not entry.reason:
            minutes = ["?" if count is None else f"{count:.1f}" for count in (entry.minutes, entry.total_minutes)]
            missing = [str(len(entry.missing)), *minutes] if entry.missing else ["", "", ""]
            table.add_row(entry.recipe.name, entry.recipe.dataset.title, str(len(entry.recorded)), *missing)
    if table.row_count:
        console.print(table)
    names: dict[str, list[str]] = {}
    for entry in entries:
        if entry.reason:
            names.setdefault(entry.reason, []).append(entry.recipe.name)
    for reason, recipes in names.items():
        console.print(f"Not trained: {', '.join(recipes)}. {reason}", style="dim", markup=False)


def _left(entries: "list[Entry]", rows: "list[Row]") -> list[tuple[str, int]]:
    """What is missing still, as pairs of recipe and seed."""
    done = {(row.recipe, row.seed) for row in rows}
    planned = [(entry.recipe.name, seed) for entry in entries for seed in entry.missing]
    return [run for run in planned if run not in done]


def _as_json(entries: "list[Entry]", rows: "list[Row]", failures: "list[Failure]", table: "Path") -> dict[str, object]:
    minutes = {entry.recipe.name: entry.minutes for entry in entries}
    return {
        "table": table,
        "recorded": [row.model_dump(mode="json") for row in rows],
        "failed": [{"recipe": f.recipe.name, "seed": f.recipe.seed, "reason": f.reason} for f in failures],
        "missing": [{"recipe": name, "seed": seed, "minutes": minutes[name]} for name, seed in _left(entries, rows)],
        "skipped": {entry.recipe.name: entry.reason for entry in entries if entry.reason},
    }
