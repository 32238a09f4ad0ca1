"""`zoo publish`, `zoo promote`, `zoo rollback` and `zoo withdraw`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.serve import GRPC_PORT
from pipelines.cli.train import JsonOption
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.gate import Report
    from pipelines.promotion import Promotion
    from pipelines.publication import Release

SAYS = {
    # publish
    "load": "loading the network",
    "stage": "exporting it",
    "verify": "asking the export, in a fresh process, for the network's answers",
    "register": "registering the version in MLflow",
    "rename": "giving it its number",
    "serve": "writing models.config",
}
MOVE_SAYS = {
    # promote, rollback
    "offer": "having the server load the candidate",
    "gate": "validation, parity with Keras, latency",
    "record": "logging the report in MLflow",
    "load": "loading the version beside the stable one",
    "check": "asking the server for the version's own answers",
    "switch": "moving the label in models.config",
    "reload": "reloading the server",
    "alias": "moving MLflow's alias",
}
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of a published model, which is that of its recipe.")]
ServerOption = Annotated[
    list[str] | None,
    typer.Option(metavar="HOST:PORT", help="gRPC address of the model server; once for each, where there are several."),
]
SERVER = f"localhost:{GRPC_PORT}"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(publish)
    app.command()(promote)
    app.command()(rollback)
    app.command()(withdraw)


def publish(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first characters, or a recipe's name.")],
    as_json: JsonOption = False,
) -> None:
    """Export a run's network, verify it and serve it as the model's candidate."""
    release = publish_run(run)
    if as_json:
        print_json(vars(release))
        return
    out.print(f"published       [bold]{release.name}[/bold] version {release.version}, {release.label}")
    out.print(f"folder          {release.folder}")
    if release.label == "candidate":
        out.print(f"next            zoo promote {release.name}   (while zoo serve runs)")


def publish_run(reference: str) -> "Release":
    """Publish with a line for each step."""
    from pipelines.tracking import find_run

    run = find_run(reference, "train", "ensemble")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.publication import publish as publish_now

    return publish_now(run, on_step=lambda step: err.print(f"[dim]{SAYS[step]}[/dim]"))


def promote(
    name: NameArgument,
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1, help="By default the candidate.")] = None,
    server: ServerOption = None,
    margin: Annotated[
        float, typer.Option(metavar="POINTS", min=0, help="How far validation may be below the stable version's.")
    ] = 0.5,
    latency: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Budget of one image's request, for 95 of 100.")
    ] = 100.0,
    tolerance: Annotated[float, typer.Option(min=0, help="Largest difference of a probability from Keras's.")] = 1e-4,
    images: Annotated[int, typer.Option(min=1, help="Real images that both are asked about.")] = 64,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="The stable version's figure may be of another dataset, or unknown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the candidate the stable version, if the gate lets it through.

    It looks, on the running server, at validation accuracy beside the stable version's, at parity with Keras on real
    images, and at latency. A promotion that was interrupted goes on when it is called again.
    """
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.gate import Limits
    from pipelines.promotion import GateRefusedError

    limits = Limits(margin, tolerance, latency, images, other_data)
    try:
        promotion = promote_with_steps(name, version, addresses(server), limits)
    except GateRefusedError as refused:
        if as_json:
            print_json(refused.report.as_dict())
        else:
            out.print(_table(refused.report))
        raise
    if as_json:
        report = promotion.report.as_dict() if promotion.report else None
        print_json({**vars(promotion.change), "model": name, "report": report})
        return
    if promotion.report:
        out.print(_table(promotion.report))
    out.print(f"stable          [bold]{name}[/bold] version {promotion.change.version}")
    if promotion.change.previous is not None:
        out.print(f"before          version {promotion.change.previous}; zoo rollback {name} goes back to it")


def promote_with_steps(name: str, version: int | None, servers: list[str], limits: Any) -> "Promotion":
    """Promote with a line for each step."""
    from pipelines.promotion import promote as promote_now

    return promote_now(name, version, servers, limits, on_step=_say)


def rollback(name: NameArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Make the version stable again that was before; or undo a promotion that was interrupted."""
    from pipelines.switching import rollback as rollback_now

    change = rollback_now(name, addresses(server), on_step=_say)
    if as_json:
        print_json({**vars(change), "model": name})
        return
    if change.version is None:
        out.print(f"undone          the promotion of [bold]{name}[/bold] version {change.previous}; none is stable")
        return
    out.print(f"stable          [bold]{name}[/bold] version {change.version}, in place of {change.previous}")


def withdraw(name: NameArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Take a model's candidate back: it is served no more, and stays published."""
    from pipelines.switching import withdraw as withdraw_now

    version = withdraw_now(name, addresses(server))
    if as_json:
        print_json({"model": name, "version": version})
        return
    out.print(
        f"withdrawn       [bold]{name}[/bold] version {version}; zoo promote {name} {version} would offer it again"
    )


def addresses(servers: list[str] | None) -> list[str]:
    """The gRPC addresses that were given, or this machine's. Raises UsageError for what is none."""
    for server in servers or ():
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal() or "/" in server:
            raise UsageError(
                f"'{server}' is no gRPC address; expected HOST:PORT, as in {SERVER} (REST has no way to reload)."
            )
    return list(dict.fromkeys(servers or [SERVER]))


def _say(step: str) -> None:
    if step in MOVE_SAYS:
        err.print(f"[dim]{MOVE_SAYS[step]}[/dim]")


def _table(report: "Report") -> Table:
    stable = "its first" if report.stable is None else f"beside version {report.stable}"
    table = Table("check", "", "found", title=f"gate: {report.model} version {report.version}, {stable}")
    for check in report.checks:
        mark = "[green]passed[/green]" if check.passed else "[red]refused[/red]"
        table.add_row(check.name, mark, check.found)
    figures = [f"{who} {percent(share)}" for who, share in report.test_accuracy.items() if share is not None]
    table.add_row("test accuracy", "[dim]not used[/dim]", ", ".join(figures) or "unknown")
    return table
