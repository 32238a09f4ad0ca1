"""The ladder: test accuracy of each rung, the text's and ours."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from pipelines.figures.plain import PlainFigure
from pipelines.ladder import Rung

TEXT, OURS = "0.45", "tab:blue"
TICKS = (97, 97.5, 98, 98.5, 99, 99.2, 99.4, 99.6, 99.8)
ASIDE = 0.1
"""How far ours stand beside the text's, in rungs."""


def ladder_figure(rungs: Sequence[Rung]) -> Figure:
    """Accuracies in percent, on a scale on which halving the error is the same step anywhere."""
    figure = PlainFigure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Nielsen's ladder on MNIST: each rung adds one thing", fontsize=11)
    places = [float(place) for place in range(len(rungs))]
    texts = [rung.text for rung in rungs]
    axes.plot(places, texts, marker="D", color=TEXT, linewidth=1, label="the text")
    for place, text in zip(places, texts, strict=True):
        _write(axes, place, text, "right", TEXT)
    ours = {
        place + ASIDE: (rung.ours, rung.spread or 0.0) for place, rung in zip(places, rungs, strict=True) if rung.ours
    }
    lowest, highest = min(texts), max(texts)
    if ours:
        means, spreads = zip(*ours.values(), strict=True)
        label = "ours, mean ± standard deviation over seeds"
        axes.errorbar(list(ours), means, yerr=spreads, fmt="o", capsize=4, color=OURS, label=label)
        for place, (mean, _) in ours.items():
            _write(axes, place, mean, "left", OURS)
        lowest = min(lowest, *(mean - spread for mean, spread in ours.values()))
        highest = max(highest, *(mean + spread for mean, spread in ours.values()))
    axes.set_yscale("function", functions=(_height, _accuracy))
    axes.set_ylim(float(_accuracy(_height(lowest) - 0.2)), float(_accuracy(_height(highest) + 0.25)))
    axes.yaxis.set_major_locator(FixedLocator(TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(-0.6, len(rungs) - 0.4)
    axes.set_xticks(places, [rung.title for rung in rungs], fontsize=9)
    axes.set_ylabel("test accuracy (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def _write(axes: Axes, place: float, accuracy: float, side: Literal["left", "right"], colour: str) -> None:
    """The number beside its mark: the text's above on the left, ours below on the right."""
    offset, above = (8, "top") if side == "left" else (-6, "bottom")
    axes.annotate(
        f"{accuracy:.2f}",
        (place, accuracy),
        (offset, 0),
        textcoords="offset points",
        ha=side,
        va=above,
        fontsize=8,
        color=colour,
    )


def _height(accuracy: np.ndarray | float) -> np.ndarray:
    """Minus the logarithm of the error."""
    return -np.log(np.maximum(100 - np.asarray(accuracy), 1e-3))


def _accuracy(height: np.ndarray | float) -> np.ndarray:
    return 100 - np.exp(-np.asarray(height))
