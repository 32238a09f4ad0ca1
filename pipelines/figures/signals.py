"""Figures of signals: the gallery of a classifier's mistakes, as waveforms."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure

COLUMNS = 4


def misclassified_gallery(signals: np.ndarray, true: Sequence[str], predicted: Sequence[str], most: int = 24) -> Figure:
    """Misclassified signals, each at its own loudness, with the true label in green and the prediction in red.

    `signals` float32 [count, samples, 1] are the misclassified ones only; the first `most` are drawn.
    """
    shown = min(len(signals), most)
    rows = max(-(-shown // COLUMNS), 1)
    figure = PlainFigure(figsize=(COLUMNS * 2.6, rows * 1.2 + 0.5), layout="constrained")
    more = f", the first {shown} of them" if shown < len(signals) else ""
    figure.suptitle(f"{len(signals)} misclassified{more}" if len(signals) else "None misclassified", fontsize=10)
    for i, axes in enumerate(figure.subplots(rows, COLUMNS, squeeze=False).flat):
        axes.axis("off")
        if i < shown:
            axes.plot(signals[i, :, 0], linewidth=0.6, color="tab:blue")
            place = {"transform": axes.transAxes, "fontsize": 8, "va": "bottom"}
            axes.text(0, 1, true[i], color="tab:green", ha="left", **place)
            axes.text(1, 1, predicted[i], color="tab:red", ha="right", **place)
    return figure
