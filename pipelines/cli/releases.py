"""`zoo releases`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.release import ServerOption, addresses
from pipelines.cli.train import JsonOption
from pipelines.errors import PipelineError

if TYPE_CHECKING:
    from pipelines.release_log import Change
    from pipelines.releases import Proof, Version
    from serving.client import GrpcClient


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(releases)


def releases(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|RUN|COMMIT|DATASET]", help="A model, or the start of what versions come from."),
    ] = None,
    server: ServerOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove by hash, and by asking, that what is served is what was exported.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List published versions: their labels, runs and accuracy, and who serves them.

    MLflow's aliases are made to say what models.config says.
    """
    from pipelines import releases as published

    repaired, not_repaired = published.repair_all()
    pending = published.pending_changes()
    with _reachable(addresses(server), must=server is not None) as clients:
        versions = published.list_versions(what, clients)
        with err.status("[dim]verifying[/dim]"):
            proofs = [published.verify(version, clients) for version in versions] if verify else []
    if as_json:
        found = {
            "versions": [asdict(version) for version in versions],
            "pending": {name: asdict(change) for name, change in pending.items()},
            "repaired": repaired,
            "not_repaired": not_repaired,
        }
        print_json(found | ({"proofs": [proof.as_dict() for proof in proofs]} if verify else {}))
    else:
        _show(versions, pending, repaired, proofs)
        if not_repaired and versions:
            out.print(f"MLflow's aliases were not looked at: {not_repaired}", markup=False)
    wrong = [f"{p.model} version {p.version}, {' and '.join(p.problems)}" for p in proofs if p.problems]
    open_ = [f"{p.model} version {p.version}, {' and '.join(p.unasked)}" for p in proofs if p.unasked]
    if wrong:
        raise PipelineError(f"Not what was exported: {'; '.join(wrong)}.")
    if open_:
        raise PipelineError(f"Not proven, since it could not be asked: {'; '.join(open_)}.")


@contextmanager
def _reachable(servers: Sequence[str], *, must: bool) -> "Iterator[list[GrpcClient]]":
    """Clients of those servers that answer; all of them where they `must`."""
    from serving.client import GrpcClient
    from serving.errors import ServingError

    clients = []
    with ExitStack() as stack:
        for address in servers:
            client = stack.enter_context(GrpcClient(address, 30.0))
            try:
                client.check_reachable(1.0)
            except ServingError:
                if must:
                    raise
                continue
            clients.append(client)
        yield clients


def _show(versions: "list[Version]", pending: "dict[str, Change]", repaired: list[str], proofs: "list[Proof]") -> None:
    if not versions:
        out.print("Nothing is published yet; `zoo publish RUN` makes a version.")
        return
    if len(versions) == 1:
        _show_one(versions[0])
    else:
        out.print(_table(versions))
    for name, change in pending.items():
        what = f"promotion of {name} version {change.version}" if change.action == "promote" else f"rollback of {name}"
        out.print(f"interrupted: {what}, begun {change.time}; finish it with `zoo {change.action} {name}`")
    for sentence in repaired:
        out.print(f"repaired: {sentence}")
    for proof in proofs:
        if proof.holds:
            asked = f", and answers so at {', '.join(proof.answered)}" if proof.answered else ""
            out.print(f"verified: {proof.model} version {proof.version} is what run {proof.run_id} exported{asked}")


def _table(versions: "list[Version]") -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    addresses = list(versions[0].servers)
    for column in ("model", "version", "label", *addresses, "validation", "test", "run"):
        table.add_column(column, justify="right" if column in ("version", "validation", "test") else "left")
    for version in versions:
        states = ["stable" if a in version.stable_at else version.servers[a].lower() for a in addresses]
        table.add_row(
            version.model,
            str(version.version),
            f"[bold]{version.label}[/bold]" if version.label else "",
            *("" if state == "end" else state for state in states),
            _percent(version.validation_accuracy),
            _percent(version.test_accuracy),
            (version.run_id or "unknown")[:8],
        )
    return table


def _show_one(version: "Version") -> None:
    """All that is known of a version, nothing of it shortened."""
    lines = {
        "model": f"[bold]{version.model}[/bold] version {version.version}",
        "label": version.label or "none: it is not served",
        "run": version.run_id,
        "commit": version.commit,
        "dataset": version.dataset_digest,
        "validation": _percent(version.validation_accuracy),
        "test": _percent(version.test_accuracy),
        **{
            f"at {address}": (state or "unknown there") + (", stable" if address in version.stable_at else "")
            for address, state in version.servers.items()
        },
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        out.print(f"{name:<{width}}   {text or 'unknown'}")


def _percent(share: float | None) -> str:
    return "unknown" if share is None else percent(share)
