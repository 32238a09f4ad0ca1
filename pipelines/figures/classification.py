"""Figures of a classifier's answers: the confusion matrix and the gallery of its mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import GAP, frame, show_tile

COLUMNS = 10
"""Of the gallery."""
LONG_NAME = 4
"""Letters that do not fit between two columns any more."""


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """How often each class (row) was taken for each class (column); counts int [classes, classes]."""
    figure = PlainFigure(figsize=(1.6 + 0.5 * len(counts), 1.2 + 0.5 * len(counts)), layout="constrained")
    axes = figure.subplots()
    # Shaded by the share of the row and on a root scale, or the diagonal alone would be seen.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.25 else "black"
            text = axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
            text.set_in_layout(False)  # it lies within the axes, and thousands of them take seconds to lay out
    longest = max(len(name) for name in class_names)
    axes.set_xticks(range(len(class_names)), class_names, rotation=90 if longest > LONG_NAME else 0)
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    wrong = int(counts.sum() - np.trace(counts))
    axes.set_title(f"{wrong} of {int(counts.sum())} wrong")
    return figure


def misclassified_gallery(images: np.ndarray, true: Sequence[str], predicted: Sequence[str], most: int = 40) -> Figure:
    """Misclassified images, the true label upper right, the prediction lower right (as in Nielsen's chapter 6).

    `images` uint8 [count, height, width, channels] are the misclassified ones only; the first `most` are drawn.
    """
    shown = min(len(images), most)
    columns = min(max(shown, 1), COLUMNS)
    rows = max(-(-shown // columns), 1)
    ratio = images.shape[1] / images.shape[2]
    figure = PlainFigure(figsize=(max(columns * 0.95, 3), rows * 0.95 * ratio + 0.5), layout="constrained")
    more = f", the first {shown} of them" if shown < len(images) else ""
    figure.suptitle(f"{len(images)} misclassified{more}" if len(images) else "None misclassified", fontsize=10)
    axes = figure.subplots()
    outline = [withStroke(linewidth=2, foreground="white")]  # or they would not be seen on a photograph
    for i in range(shown):
        row, column = divmod(i, columns)
        show_tile(axes, images[i], column, row, cmap="gray_r", vmin=0, vmax=255)
        right, top = column * (1 + GAP) + 1, row * (ratio + GAP)
        place: dict[str, Any] = {"ha": "right", "fontsize": 9, "path_effects": outline}
        axes.text(right, top, true[i], va="top", color="tab:green", **place)
        axes.text(right, top + ratio, predicted[i], va="bottom", color="tab:red", **place)
    frame(axes, columns, rows, ratio)
    return figure
