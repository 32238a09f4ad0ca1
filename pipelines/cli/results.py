"""`zoo results`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Column, Table

from pipelines.cli.console import out, print_json
from pipelines.cli.train import JsonOption
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.results import Result

TableOption = Annotated[
    Path | None, typer.Option("--table", metavar="FILE", help="A table of your own, in place of the project's.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(results)


def results(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]…", help="Finished runs to add.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/results.md.")] = False,
    short: Annotated[bool, typer.Option("--short", help="With --markdown: print the README's table.")] = False,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the ladder of MNIST networks as a PNG file.")
    ] = None,
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what the project has measured; with RUNs, add them to the repository's table of results.

    Into a table of your own, runs of changed sources are taken too; their commit then ends in +changed.
    """
    from pipelines.results import read_results, record

    if short and not markdown:
        raise UsageError("--short is of the Markdown; expected --markdown --short.")
    if table and not runs and not table.exists():
        raise UsageError(f"There is no table '{table}'; zoo reproduce --table {table} makes one.")
    if runs:
        from pipelines.tracking import find_run

        found = record([find_run(run, "train", "ensemble") for run in runs], table, allow_changed=table is not None)
    else:
        found = read_results(table)
    if figure:
        _draw(found, figure)
    if as_json:
        print_json([result.model_dump(mode="json") for result in found])
    elif markdown:
        from pipelines.results_page import results_page, short_table

        out.print(short_table(found) if short else results_page(found), markup=False, end="")
    elif figure:
        out.print(str(figure), markup=False)
    else:
        out.print(results_table(found))
        out.print("[dim]zoo results --markdown also says how each was made.[/dim]")


def results_table(found: "list[Result]") -> Table:
    """The results for a terminal."""
    left = [Column("recipe"), *(Column(name, no_wrap=True) for name in ("dataset", "test accuracy"))]
    right = [Column(name, justify="right", no_wrap=True) for name in ("best", "paper", "seeds", "minutes")]
    table = Table(*left, *right, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for result in found:
        name = ", ".join(filter(None, [result.title, result.ensemble, "" if result.is_current else "earlier settings"]))
        best, paper = ("" if value is None else f"{value:.2f}" for value in (result.best, result.paper))
        numbers = [best, paper, str(len(result.seeds)), f"{result.minutes:.1f}"]
        table.add_row(escape(name), result.dataset, result.accuracy(), *numbers)
    return table


def _draw(found: "list[Result]", path: Path) -> None:
    """Write the ladder's figure."""
    from pipelines.figures.ladder import ladder_figure
    from pipelines.files import png, write_files
    from pipelines.ladder import ladder

    if path.suffix.lower() != ".png":
        raise UsageError(f"The figure '{path}' is no PNG file; expected a name that ends in .png.")
    write_files(path.parent, {path.name: png(ladder_figure(ladder(found)))})
