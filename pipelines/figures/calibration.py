"""Figure of a classifier's calibration: the reliability diagram."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pipelines.figures.plain import PlainFigure


def reliability_diagram(counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, error: float) -> Figure:
    """Accuracy of the answers in each bin of confidence, and below how many there are, as in Guo et al. 2017, figure 1.

    `counts` int, mean `confidence` and `accuracy` float (NaN where a bin is empty), each [bins] over 0 to 1 in equal
    steps; `error` is the expected calibration error, 0 to 1.
    """
    figure = PlainFigure(figsize=(4.8, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = 1 / len(counts)
    left = np.arange(len(counts)) * width
    filled = counts > 0
    upper.plot([0, 1], [0, 1], color="0.4", linewidth=1, linestyle="--", label="as sure as right")
    upper.bar(left[filled], accuracy[filled], width, align="edge", color="tab:blue", edgecolor="white", label="right")
    # The gap begins at the bin's own mean, which in the last bin of a good network is close to 1.
    upper.hlines(
        confidence[filled], left[filled], left[filled] + width, color="tab:red", linewidth=2, label="sure (mean)"
    )
    upper.set_ylim(0, 1.03)
    upper.set_ylabel("share")
    upper.set_title(f"expected calibration error {100 * error:.2f} %", fontsize=10)
    lower.bar(left, counts, width, align="edge", color="0.6", edgecolor="white")
    # Nearly all of a good network's answers are in the last bin.
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    lower.set_ylim(0, max(counts.max() * 2, 10))
    lower.set_xlim(0, 1)
    lower.set_xlabel("confidence")
    lower.set_ylabel("answers")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure
