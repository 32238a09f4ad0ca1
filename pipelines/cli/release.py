"""`zoo publish`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines.cli.console import err, out, print_json
from pipelines.cli.train import JsonOption

if TYPE_CHECKING:
    from pipelines.release import Release

SAYS = {
    "load": "loading the network",
    "stage": "exporting it",
    "verify": "asking the export, in a fresh process, for the network's answers",
    "register": "registering the version in MLflow",
    "rename": "giving it its number",
    "serve": "writing models.config",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)


def publish(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its first characters, or a recipe's name.")],
    label: Annotated[
        Literal["stable", "candidate"] | None,
        typer.Option(help="By default stable for a model's first version, candidate for later ones."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a run's network, verify it and serve it as a new version."""
    release = publish_run(run, label)
    if as_json:
        print_json(vars(release))
        return
    out.print(f"published       [bold]{release.name}[/bold] version {release.version}, label {release.label}")
    out.print(f"folder          {release.folder}")
    out.print("next            zoo serve")


def publish_run(reference: str, label: Literal["stable", "candidate"] | None = None) -> "Release":
    """Publish with a line for each step."""
    from pipelines.tracking import find_run

    run = find_run(reference, "train", "ensemble")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.release import publish as publish_now

    return publish_now(run, label, on_step=lambda step: err.print(f"[dim]{SAYS[step]}[/dim]"))
