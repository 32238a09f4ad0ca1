"""Learning curves: loss and accuracy over the epochs, of one run or of several together."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pipelines.figures.plain import PlainFigure

COLOURS = (*matplotlib.color_sequences["tab10"], "black", "gold")
MOST_RUNS = len(COLOURS)
"""That are drawn together, each in a colour of its own."""


def learning_curves(history: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Loss and accuracy (percent), training and, where it has them, validation, from a history of values per epoch."""
    figure = PlainFigure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, metric, label, factor in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss", "accuracy (%)"), (1, 100), strict=True
    ):
        for name, style in ((metric, "training"), (f"val_{metric}", "validation")):
            if name in history:
                values = [value * factor for value in history[name]]
                axes.plot(range(1, len(values) + 1), values, marker=".", label=style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def curves_together(histories: Sequence[Mapping[str, Sequence[float]]], title: str, labels: Sequence[str]) -> Figure:
    """Loss and accuracy (percent) of up to `MOST_RUNS` runs: validation as lines, training dashed.

    A history has of each metric a value an epoch; NaN leaves a gap, and a metric may be missing. The axes show all of
    the later half of every run, and of what was before it what lies in the same range: runs differ at their end.
    """
    figure = PlainFigure(figsize=(11, 4.4 + 0.22 * -(-len(labels) // 3)), layout="constrained")
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2)
    for axes, metric, factor in ((left, "accuracy", 100), (right, "loss", 1)):
        late: list[float] = []
        for history, colour in zip(histories, COLOURS, strict=False):
            for name, style in ((metric, "--"), (f"val_{metric}", "-")):
                values = np.asarray(history.get(name, ()), float) * factor
                epochs = np.arange(1, len(values) + 1)
                thin = style == "--"
                # A run of one epoch is a point.
                axes.plot(
                    epochs,
                    values,
                    style,
                    color=colour,
                    linewidth=0.8 if thin else 1.6,
                    alpha=0.6 if thin else 1,
                    marker="." if len(values) == 1 else None,
                )
                late += list(values[len(values) // 2 :])
        _limit(axes, np.asarray(late))
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy (%)" if metric == "accuracy" else "loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    runs = [Line2D([], [], color=colour) for _, colour in zip(histories, COLOURS, strict=False)]
    kinds = [Line2D([], [], color="0.3", linewidth=1.6), Line2D([], [], color="0.3", linestyle="--", linewidth=0.8)]
    right.legend(kinds, ["validation", "training"], fontsize=8)
    figure.legend(runs, labels[: len(runs)], loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _limit(axes: Axes, values: np.ndarray) -> None:
    values = values[np.isfinite(values)]
    if len(values):
        margin = 0.05 * (np.ptp(values) or 1.0)
        axes.set_ylim(max(float(values.min()) - margin, 0.0), float(values.max()) + margin)
