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
    AUGMENTATION = "augmentation"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(draw)


def draw(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NAME|RUN|RECIPE",
            help="A run (its id, its start, or its recipe), a network of the zoo, or a recipe (its name or its file).",
        ),
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
        int, typer.Option(min=0, help="Seed of fresh weights, of the choice of images, and of their augmentation.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Draw what a network has learned and sees, and what a recipe's augmentation makes of its images."""
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.drawing import AUGMENTATION, save
    from pipelines.drawing import draw as draw_now
    from pipelines.errors import UsageError
    from pipelines.home import home
    from pipelines.references import find_reference
    from pipelines.subjects import find_subject

    names = [chosen.value for chosen in picture or ()]
    reference = find_reference(subject, fresh=fresh)
    found = None
    if names != [AUGMENTATION] and (reference.network or image or invert):
        found = find_subject(reference, image, invert=invert, seed=seed)
    elif image or invert:
        raise UsageError("Images of your own are shown to a network, and only augmentation is drawn; leave them out.")
    pictures, reasons = draw_now(reference, found, names, endpoint or (), seed)
    files = save(pictures, output or home() / "drawings" / reference.name)
    if as_json:
        print_json(
            {
                "network": found.network.spec if found else None,
                "run_id": reference.run.info.run_id if reference.run else None,
                "seed": seed,
                "pictures": {name: {"file": files[name], **drawn.numbers} for name, drawn in pictures.items()},
                "not_drawn": reasons,
            }
        )
        return
    for name, file in files.items():
        out.print(f"{name:<13}{file}", markup=False)
    for reason in dict.fromkeys(reasons.values()):
        missing = ", ".join(name for name in reasons if reasons[name] == reason)
        err.print(f"{missing:<12} not drawn: {reason}", markup=False, style="dim")
