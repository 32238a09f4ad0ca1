"""`zoo compare`."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Column, Table

from pipelines.cli.console import err, out, print_json
from pipelines.cli.train import JsonOption
from pipelines.errors import UsageError
from pipelines.fields import short_names

if TYPE_CHECKING:
    from pipelines.comparison import ComparedRun

NONE = "–"
COSTS = ("epochs", "minutes", "parameters")
"""Metrics of which no value is better than another: what a run costs."""
HEADINGS: dict[str, tuple[str, Callable[[float], str]]] = {
    "epochs": ("epochs\ntrained", "{:.0f}".format),
    "val_accuracy": ("val\n(%)", lambda share: f"{100 * share:.2f}"),
    "best_val_accuracy": ("best\nepoch (%)", lambda share: f"{100 * share:.2f}"),
    "val_loss": ("val\nloss", "{:.4f}".format),
    "accuracy": ("training\n(%)", lambda share: f"{100 * share:.2f}"),
    "loss": ("training\nloss", "{:.4f}".format),
    "test_accuracy": ("test\n(%)", lambda share: f"{100 * share:.2f}"),
    "minutes": ("minutes", "{:.1f}".format),
    "parameters": ("parameters", "{:,.0f}".format),
}
"""Of the metrics: what their columns are called, and how they are written."""
ASKED_FOR = ("accuracy", "loss")
"""Metrics that a table has only where it is sorted by them: the curves show them, and a table has to fit."""
Numbers = Mapping[str, dict[str, str]]
"""By a run's id its metrics as they are written, by their headings."""
WORDS = ("run", "recipe", "status")
SHORT = 7
"""Characters of a heading that needs no second line."""
MOST_NAMED = 6
"""Runs that the figure's file is named after."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]…", help="Runs, by id, its start or recipe; by default the latest five."),
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="ID", help="Compare all trials of this search.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="Sort by this metric, as val_loss.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of the curves, a PNG; by default below artifacts/compare.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: the settings in which they differ, what came of each, and their learning curves in one picture."""
    if runs and search:
        raise UsageError("--search takes all trials of a search; leave it out to compare runs, or leave out the runs.")
    if output and output.suffix.lower() != ".png":
        raise UsageError(f"The figure '{output}' is no PNG file; expected a name that ends in .png.")
    from pipelines import comparison
    from pipelines.files import png, write_files
    from pipelines.home import home

    if metric:
        comparison.by_metric([], metric)  # so that a wrong name is said before anything is read
    with err.status("[dim]reading the runs[/dim]"):
        if search:
            found = comparison.trials_of(search)
        else:
            found = comparison.runs_named(runs) if runs else comparison.latest_runs()
        compared = comparison.read_runs(found)
    if search and not metric and comparison.objective_of(compared):
        metric = comparison.OBJECTIVE
    if metric:
        compared = comparison.by_metric(compared, metric)
    name, title = "-".join(run.info.run_id[:8] for run in found[:MOST_NAMED]), "Learning curves"
    if search:
        search_id = found[0].data.tags["mlflow.parentRunId"][:8]
        name, title = f"search-{search_id}", f"Learning curves of search {search_id}"
    figure = comparison.draw_together(compared, title, metric or "best_val_accuracy")
    file = None
    if figure:
        output = output or home() / "compare" / f"{name}.png"
        file = write_files(output.parent, {output.name: png(figure)})[output.name]
    fields = comparison.differing(compared)
    remarks = comparison.remarks(compared)
    if as_json:
        print_json(
            {
                "runs": [_as_json(run, fields) for run in compared],
                "differing": fields,
                "remarks": remarks,
                "figure": str(file) if file else None,
            }
        )
        return
    for table in _tables(compared, fields, _numbers(compared, metric)):
        out.print(table)
    for run in compared:
        if run.error:
            out.print(f"{run.title}: {run.error}", markup=False, style="dim")
    for remark in remarks:
        out.print(remark, markup=False)
    out.print(f"curves   {file}" if file else "No epoch was recorded: there are no curves to draw.", markup=False)


def _numbers(runs: "list[ComparedRun]", metric: str | None) -> Numbers:
    """The runs' metrics, the best bold, without what all lack or have in common or another column says; `metric` is the
    one that they are sorted by."""
    from pipelines.comparison import OBJECTIVE, best_of, objective_of

    objective, headings = objective_of(runs), HEADINGS
    if objective:
        heading, form = HEADINGS[objective]
        headings = {OBJECTIVE: ("objective\n" + heading.replace("\n", " "), form), **HEADINGS}
    numbers: Numbers = {run.run_id: {} for run in runs}
    columns = {name: [run.metrics.get(name) for run in runs] for name in headings}
    for name, (heading, form) in headings.items():
        values = columns[name]
        repeats = name == "best_val_accuracy" and values in (columns["val_accuracy"], columns.get(OBJECTIVE))
        is_same = name == "parameters" and len(set(values)) == 1
        if repeats or is_same or (name in ASKED_FOR and name != metric) or values.count(None) == len(values):
            continue
        best = None if name in COSTS else best_of(runs, name)
        for run, value in zip(runs, values, strict=True):
            text = NONE if value is None else form(value)
            numbers[run.run_id][heading] = f"[bold]{text}[/bold]" if value is not None and value == best else text
    return numbers


def _tables(runs: "list[ComparedRun]", fields: list[str], numbers: Numbers) -> Iterator[Table]:
    """One with a row a run; or, where a run has more to show than fits, with a column a run and as many as fit."""
    across = _rows(runs, short_names(fields), fields, numbers)
    if _width(across) <= out.width:
        yield across
        return
    cells = [_cells(run, runs, fields, fields, numbers) for run in runs]
    while cells:
        fit = max((n for n in range(1, len(cells) + 1) if _width(_columns(cells[:n])) <= out.width), default=1)
        fit = math.ceil(len(cells) / math.ceil(len(cells) / fit))  # no table of a single run after full ones
        yield _columns(cells[:fit])
        cells = cells[fit:]


def _width(table: Table) -> int:
    """In characters, where nothing limits it."""
    return Measurement.get(out, out.options.update(max_width=10_000), table).maximum


def _rows(runs: "list[ComparedRun]", names: list[str], fields: list[str], numbers: Numbers) -> Table:
    cells = [_cells(run, runs, names, fields, numbers) for run in runs]
    heads = [
        # Long names go on two lines, for a table has to fit into a terminal.
        Column(
            escape(_on_two_lines(name)),
            no_wrap=name == "run",
            overflow="fold",
            justify="left" if name in WORDS else "right",
        )
        for name in cells[0]
    ]
    table = Table(*heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in cells:
        table.add_row(*row.values())
    return table


def _on_two_lines(name: str) -> str:
    """Broken at the last point or underscore, unless it is short."""
    place = max(name.rfind("."), name.rfind("_")) + 1
    return f"{name[:place]}\n{name[place:]}" if place and len(name) > SHORT else name


def _columns(cells: list[dict[str, str]]) -> Table:
    heads = [Column(row["run"], justify="right", overflow="fold") for row in cells]
    table = Table(Column("run", overflow="fold"), *heads, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in list(cells[0])[1:]:
        table.add_row(escape(name.replace("\n", " ")), *(row[name] for row in cells))
    return table


def _cells(
    run: "ComparedRun", runs: "list[ComparedRun]", names: list[str], fields: list[str], numbers: Numbers
) -> dict[str, str]:
    """What a table says of a run, by its headings, without what all runs lack or have in common."""
    cells = {"run": run.run_id[:8]}
    if any(other.trial is not None for other in runs):
        cells["trial"] = NONE if run.trial is None else str(run.trial)
    if len({other.recipe for other in runs}) > 1:
        cells["recipe"] = escape(run.recipe)
    if any(other.status != "FINISHED" for other in runs):
        cells["status"] = "" if run.status == "FINISHED" else run.status.lower()
    for name, field in zip(names, fields, strict=True):
        cells[name] = escape(_setting(run.settings[field])) if field in run.settings else NONE
    if run.trial is None or len({other.seed for other in runs}) > 1:
        cells["seed"] = NONE if run.seed is None else str(run.seed)
    return cells | numbers[run.run_id]


def _setting(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return ", ".join(map(_setting, value)) or "none" if isinstance(value, list) else str(value)


def _as_json(run: "ComparedRun", fields: list[str]) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "recipe": run.recipe,
        "trial": run.trial,
        "objective": run.objective,
        "seed": run.seed,
        "status": run.status,
        "error": run.error or None,
        "dataset": run.dataset,
        "dataset_digest": run.dataset_digest or None,
        "settings": {field: run.settings[field] for field in fields if field in run.settings},
        # JSON knows no NaN.
        "metrics": {name: value if math.isfinite(value) else None for name, value in run.metrics.items()},
    }
