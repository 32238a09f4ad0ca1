"""`zoo draw`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import err, out, print_json
from pipelines.cli.train import JsonOption


class PictureName(StrEnum):
    """What there is to draw (an enumeration, for Typer takes no list of literals)."""

    FILTERS = "filters"
    FEATURES = "features"
    GUESSES = "guesses"
    INVARIANCE = "invariance"
    ROTATION = "rotation"
    CODES = "codes"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(draw)


def draw(
    subject: Annotated[
        str,
        typer.Argument(metavar="NAME|RUN", help="A run (its id, its start, or its recipe), or a network of the zoo."),
    ],
    image: Annotated[
        Path | None,
        typer.Argument(help="An image, or a folder of them; by default validation images of the run, or digits."),
    ] = None,
    picture: Annotated[
        list[PictureName] | None, typer.Option(help="Draw this one only; may be given again. By default all.")
    ] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option(help="Show this layer's maps; may be given again. By default every stage's.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FOLDER", help="By default artifacts/drawings/NAME.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Draw the network untrained, also where a recipe of that name was trained.")
    ] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Swap light and dark, for dark ink on light paper.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of a network's fresh weights and of the choice of validation images.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Draw what a network has learned and sees: filters, feature maps, guesses, invariance."""
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.drawing import draw as draw_now
    from pipelines.drawing import save
    from pipelines.home import home
    from pipelines.subjects import find_subject

    found = find_subject(subject, image, fresh=fresh, invert=invert, seed=seed)
    pictures, reasons = draw_now(found, picture or (), endpoint or ())
    files = save(pictures, output or home() / "drawings" / found.network.name)
    if as_json:
        print_json(
            {
                "network": found.network.spec,
                "run_id": found.network.run_id,
                "seed": seed,
                "pictures": {name: {"file": files[name], **drawn.numbers} for name, drawn in pictures.items()},
                "not_drawn": reasons,
            }
        )
        return
    for name, file in files.items():
        out.print(f"{name:<11}{file}", markup=False)
    for name, reason in reasons.items():
        err.print(f"{name:<11}not drawn: {reason}", markup=False, style="dim")
