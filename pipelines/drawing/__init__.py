"""The pictures of a network, and of the training images that a recipe augments."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from pipelines.drawing.augmentation import draw_augmentation
from pipelines.drawing.network import (
    draw_codes,
    draw_features,
    draw_filters,
    draw_guesses,
    draw_invariance,
    draw_rotation,
)
from pipelines.drawing.picture import Picture, save
from pipelines.errors import PipelineError, UsageError
from pipelines.references import Reference
from pipelines.subjects import Subject

__all__ = ["AUGMENTATION", "Picture", "draw", "save"]

AUGMENTATION = "augmentation"
"""The picture that needs a recipe and no network."""


def draw(
    reference: Reference,
    subject: Subject | None,
    names: Iterable[str] = (),
    endpoints: Sequence[str] = (),
    seed: int = 1,
) -> tuple[dict[str, Picture], dict[str, str]]:
    """The pictures of these names, or all that apply; and why each of the others does not, by its name.

    `subject` is the network that `reference` names, where it names one, with what it is shown; `seed` chooses the
    training images and draws their augmentation. `endpoints` are the layers that `features` shows, by default the
    convolutions, poolings and modules. Raises UsageError for a named picture that does not apply, where none applies
    at all, and for endpoints without `features`; ZooError for an endpoint that the network lacks.
    """
    of_network: dict[str, Callable[[Subject], Picture]] = {
        "filters": draw_filters,
        "features": partial(draw_features, endpoints=endpoints),
        "guesses": draw_guesses,
        "invariance": draw_invariance,
        "rotation": draw_rotation,
        "codes": draw_codes,
    }
    wanted = list(names)
    if endpoints and wanted and "features" not in wanted:
        raise UsageError(
            f"--endpoint names what the picture features shows, and only {', '.join(wanted)} is drawn; "
            "add --picture features, or leave --endpoint out."
        )
    pictures, reasons = {}, {}
    for name in wanted or [*of_network, AUGMENTATION]:
        try:
            if name == AUGMENTATION:
                if not wanted and subject:
                    reference.check_no_download()
                pictures[name] = draw_augmentation(reference, seed)
            elif subject is None:
                raise UsageError(reference.why_no_network)
            else:
                pictures[name] = of_network[name](subject)
        except PipelineError as error:
            if wanted or (name == "features" and endpoints):
                raise
            reasons[name] = str(error)
    if not pictures:
        raise UsageError(" ".join(dict.fromkeys(reasons.values())))
    return pictures, reasons
