"""`zoo doctor`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from pipelines.cli.console import err, out, print_json
from pipelines.cli.release import SERVER
from pipelines.cli.train import JsonOption

if TYPE_CHECKING:
    from pipelines.doctor import Finding

COLOURS = {"ok": "green", "note": "yellow", "problem": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    server: Annotated[
        str, typer.Option(help="The model server: HOST:PORT, or http://HOST:PORT of its REST port.")
    ] = SERVER,
    as_json: JsonOption = False,
) -> None:
    """Look whether all is well with this machine, the installation, the stores and what is served; else say what to do.

    A note is about what not everybody needs; with a problem the exit status is 1.
    """
    from dataclasses import asdict

    with err.status("[dim]looking[/dim]"):
        from pipelines.doctor import examine

        findings = examine(server)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        out.print(_table(findings), soft_wrap=False)
        out.print(f"\n{_summary(findings)}")
    sys.exit(any(finding.level == "problem" for finding in findings))


def _table(findings: "list[Finding]") -> Table:
    columns = Column(no_wrap=True), Column(no_wrap=True), Column(overflow="fold")
    table = Table.grid(*columns, padding=(0, 2, 0, 0))
    for finding in findings:
        colour = COLOURS[finding.level]
        table.add_row(f"[{colour}]{finding.level}[/{colour}]", escape(finding.name), escape(finding.found))
        if finding.advice:
            table.add_row("", "", f"[dim]→[/dim] {escape(finding.advice)}")
    return table


def _summary(findings: "list[Finding]") -> str:
    """As in `1 problem, 2 notes`."""
    counts = [(level, sum(finding.level == level for finding in findings)) for level in ("problem", "note")]
    named = [f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts if count]
    return ", ".join(named) or "All is well."
