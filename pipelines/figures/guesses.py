"""Figure of a classifier's likeliest classes beside each image, as in figure 4 of the AlexNet paper."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import show_input

TOP = 5
IN_A_ROW = 5
RIGHT, OTHER = "tab:green", "0.78"


def top_guesses(
    inputs: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    labels: np.ndarray | None,
    title: str,
) -> Figure:
    """Each input with the bars of its five likeliest classes below it; the true class's bar is green.

    `inputs` are pixels 0…255 [count, height, width, 1 or 3] or signals [count, samples, 1]; `probabilities` float
    [count, classes]; `labels` int [count], or None where nobody knows them.
    """
    columns = min(len(inputs), IN_A_ROW)
    rows = -(-len(inputs) // columns)
    shown = min(TOP, len(class_names))
    figure = PlainFigure(
        figsize=(max(1.85 * columns, 5.5) + 0.1, rows * (1.75 + 0.2 * shown) + 0.5), layout="constrained"
    )
    figure.suptitle(title, fontsize=10)
    table = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.5, 0.2 * shown + 0.1] * rows)
    for cell in range(rows * columns):
        row, column = divmod(cell, columns)
        picture, bars = table[2 * row, column], table[2 * row + 1, column]
        if cell >= len(inputs):
            picture.axis("off")
            bars.axis("off")
            continue
        show_input(picture, inputs[cell])
        truth = None if labels is None else int(labels[cell])
        if truth is not None:
            picture.set_title(class_names[truth], fontsize=9)
        _bars(bars, probabilities[cell], class_names, truth, shown)
    return figure


def likeliest(probabilities: np.ndarray, count: int = TOP) -> list[int]:
    """The classes of the `count` largest of some probabilities [classes], likeliest first."""
    return [int(i) for i in np.argsort(-probabilities, kind="stable")[:count]]


def _bars(axes: Axes, probabilities: np.ndarray, class_names: Sequence[str], truth: int | None, shown: int) -> None:
    classes = likeliest(probabilities, shown)
    shares = [float(probabilities[i]) for i in classes]
    axes.barh(range(shown), shares, color=[RIGHT if i == truth else OTHER for i in classes], height=0.86)
    for place, (i, share) in enumerate(zip(classes, shares, strict=True)):
        axes.text(0.02, place, class_names[i], va="center", fontsize=8, clip_on=True)
        axes.text(0.98, place, f"{100 * share:.1f} %", va="center", ha="right", fontsize=7)
    axes.set_xlim(0, 1)
    axes.set_ylim(shown - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
