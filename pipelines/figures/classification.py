"""Figures of a classifier's answers: the confusion matrix and the gallery of its mistakes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure


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
            axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(class_names)), class_names)
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
    columns = min(max(shown, 1), 10)
    rows = max(-(-shown // columns), 1)
    figure = PlainFigure(figsize=(max(columns * 0.9, 3), rows * 0.9 + 0.5), layout="constrained")
    more = f", the first {shown} of them" if shown < len(images) else ""
    figure.suptitle(f"{len(images)} misclassified{more}" if len(images) else "None misclassified", fontsize=10)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < shown:
            grey = images.shape[-1] == 1
            axes.imshow(images[i, ..., 0] if grey else images[i], cmap="gray_r" if grey else None)
            place = {"transform": axes.transAxes, "ha": "right", "fontsize": 9}
            axes.text(1, 1, true[i], va="top", color="tab:green", **place)
            axes.text(1, 0, predicted[i], va="bottom", color="tab:red", **place)
    return figure
