"""Figures of weights: a first layer's filters, and the fixed codes of an RBF output."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import frame, show_tile

WIDEST = 16
"""Filters in a row: as many as figure 3 of the AlexNet paper has."""
CODES_IN_A_ROW = 10


def first_layer_filters(blocks: Mapping[str, np.ndarray], title: str) -> Figure:
    """The filters of a convolution that sees the image: `blocks` maps the heading of each block, or "", to its kernels.

    Kernels are float [height, width, 1 or 3, filters]. Those of three channels are drawn in colour, those of one in
    grey; mid-grey is a weight of zero, and each filter is scaled by its own largest weight.
    """
    shapes = {heading: _grid(kernels.shape[-1]) for heading, kernels in blocks.items()}
    columns, rows = max(c for c, _ in shapes.values()), [r for _, r in shapes.values()]
    side = 0.55 if columns > 8 else 0.8
    headings = 0.3 * sum(map(bool, blocks))
    size = (max(columns * side, 6.2) + 0.3, sum(rows) * side + headings + 0.5)
    figure = PlainFigure(figsize=size, layout="constrained")
    figure.suptitle(title, fontsize=10)
    parts = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (heading, kernels) in zip(parts, blocks.items(), strict=True):
        if heading:
            axes.set_title(heading, fontsize=9)
        for i in range(kernels.shape[-1]):
            row, column = divmod(i, shapes[heading][0])
            show_tile(axes, scaled(kernels[..., i]), column, row, vmin=0, vmax=1)
        frame(axes, *shapes[heading], ratio=kernels.shape[0] / kernels.shape[1])
    return figure


def scaled(kernel: np.ndarray) -> np.ndarray:
    """A kernel's weights, −largest … largest over all its channels, as 0…1; a weight of zero becomes 0.5."""
    largest = np.abs(kernel).max()
    return 0.5 + kernel / (2 * largest) if largest else np.full_like(kernel, 0.5)


def signal_filters(kernels: np.ndarray, title: str) -> Figure:
    """The filters of a convolution along a signal, float [samples, 1, filters]: each a curve about its zero line."""
    count = kernels.shape[-1]
    columns, rows = _grid(count, 8)
    figure = PlainFigure(figsize=(columns * 1.2 + 0.3, rows * 1.0 + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    largest = np.abs(kernels).max() or 1.0
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < count:
            axes.axhline(0, color="0.75", linewidth=0.8)
            axes.plot(kernels[:, 0, i], color="black", linewidth=1)
            axes.set_ylim(-1.1 * largest, 1.1 * largest)
    return figure


def output_codes(codes: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """The code of each class, ±1 [classes, rows, columns], as a bitmap: +1 is ink."""
    columns, rows = _grid(len(codes), CODES_IN_A_ROW)
    figure = PlainFigure(figsize=(0.85 * columns + 0.2, 1.6 * rows + 0.35), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_visible(i < len(codes))
        if i < len(codes):
            axes.imshow(codes[i], cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
            axes.set_xlabel(class_names[i], fontsize=10)
    return figure


def _grid(count: int, widest: int = WIDEST) -> tuple[int, int]:
    """(columns, rows) for `count` tiles: as few rows as `widest` allows, equally full."""
    rows = -(-count // widest)
    return -(-count // rows), rows
