"""Figure of training images before and after augmentation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import GAP, TILE_PIXELS

INCHES = 0.82
"""Width of a tile."""


def augmentation_sheet(
    originals: np.ndarray,
    versions: np.ndarray,
    captions: Sequence[Sequence[str]],
    headings: Sequence[str],
    title: str,
) -> Figure:
    """A row for each image: as it is, a gap, then its versions, all at one scale.

    Args:
        originals: pixels 0…255 [images, height, width, 1 or 3].
        versions: the same [versions, images, height, width, 1 or 3]; of another size where a crop makes it so.
        captions: of each version of each image, up to two lines; empty where there are none.
        headings: of the versions' columns, or of the first alone.
        title: of the figure.
    """
    count, (rows, *_) = len(versions), originals.shape
    height, width = np.maximum(originals.shape[1:3], versions.shape[2:4])
    gap = max(round(GAP * width), 1)
    below = gap + (round(0.32 * width) if captions else 0)
    first = width + 4 * gap  # where the versions begin
    sheet = np.full((rows * (height + below) - below, first + count * (width + gap) - gap, 3), 255.0)
    for i, row in enumerate(range(0, len(sheet), height + below)):
        _put(sheet, originals[i], row, 0, height, width)
        for k in range(count):
            _put(sheet, versions[k, i], row, first + k * (width + gap), height, width)
    inch = INCHES / width
    lines = title.count("\n") + 1
    figure = PlainFigure(
        figsize=(inch * sheet.shape[1] + 0.2, inch * (len(sheet) + below) + 0.17 * lines + 0.4), layout="constrained"
    )
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots()
    axes.imshow(np.clip(sheet / 255, 0, 1), interpolation="nearest" if width <= TILE_PIXELS else "auto")
    # Room for the captions of the last row.
    axes.set_ylim(len(sheet) - 0.5 + (below if captions else 0), -0.5)
    axes.axis("off")
    axes.text(0, -gap, "original", fontsize=8)
    for k, heading in enumerate(headings):
        axes.text(first + k * (width + gap), -gap, heading, fontsize=8)
    for k, column in enumerate(captions):
        for i, caption in enumerate(column):
            axes.text(
                first + k * (width + gap), i * (height + below) + height, caption, va="top", fontsize=6, linespacing=1
            )
    return figure


def _put(sheet: np.ndarray, image: np.ndarray, row: int, column: int, height: int, width: int) -> None:
    """An image in the middle of its place; one channel becomes three."""
    top, left = row + (height - image.shape[0]) // 2, column + (width - image.shape[1]) // 2
    sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
