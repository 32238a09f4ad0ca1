"""Learning curves: loss and accuracy over the epochs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.figures.plain import PlainFigure


def learning_curves(history: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Loss and accuracy (percent), training and validation, from a history of values per epoch."""
    figure = PlainFigure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, metric, label, factor in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss", "accuracy (%)"), (1, 100), strict=True
    ):
        for name, style in ((metric, "training"), (f"val_{metric}", "validation")):
            values = [value * factor for value in history[name]]
            axes.plot(range(1, len(values) + 1), values, marker=".", label=style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
