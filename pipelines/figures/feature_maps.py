"""Figures of what a network makes of its input, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import GAP, frame, show_input, show_tile

MOST_MAPS, MOST_CURVES = 10, 5
"""Maps of a layer that are drawn, of an image and of a signal: its first ones."""
WIDTH, MAP_WIDTH = 9.6, 0.74
"""Inches of the figure and of a map."""


@dataclass(frozen=True)
class LayerMaps:
    """What one layer answers to one input."""

    name: str
    values: np.ndarray
    """Float [height, width, maps] of an image, [samples, maps] of a signal."""
    receptive_field: str
    """What one value of a map sees of the input: `5x5`."""


def feature_maps(values: np.ndarray, layers: Sequence[LayerMaps], title: str) -> Figure:
    """The input, then a row for each layer: its name and shape, what it sees of the input, and its first maps.

    `values` is the input: pixels 0…255 [height, width, 1 or 3], or a signal [samples, 1], whose maps are curves. The
    maps of a row have one scale, from the smallest value that is drawn (dark, or low) to the largest.
    """
    is_signal = values.ndim == 2
    heights = [1.1 if is_signal else 1.5, *(_height(layer.values) for layer in layers)]
    figure = PlainFigure(figsize=(WIDTH, sum(heights) + 0.12 * len(heights) + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    table = figure.subplots(len(heights), 2, width_ratios=(1.7, 8), height_ratios=heights)
    _label(table[0, 0], "input", "x".join(map(str, values.shape)))
    show_input(table[0, 1], values)
    if not is_signal:
        table[0, 1].set_anchor("W")
    for (text, axes), layer in zip(table[1:], layers, strict=True):
        *sides, maps = layer.values.shape
        _label(text, layer.name, f"{maps} maps of {'x'.join(map(str, sides))}\nsees {layer.receptive_field}")
        draw = _curves if is_signal else _images
        draw(axes, layer.values)
        axes.set_anchor("W")
    return figure


def _images(axes: Axes, values: np.ndarray) -> None:
    maps = values[..., :MOST_MAPS]
    low, high = float(maps.min()), float(maps.max())
    for i in range(maps.shape[-1]):
        # A layer of equal values has no range of its own; it is drawn dark.
        show_tile(axes, maps[..., i], i, cmap="viridis", vmin=low, vmax=high if high > low else low + 1)
    frame(axes, MOST_MAPS, ratio=maps.shape[0] / maps.shape[1])


def _curves(axes: Axes, values: np.ndarray) -> None:
    maps = values[..., :MOST_CURVES]
    low, high = float(maps.min()), float(maps.max())
    place = np.linspace(0, 1, len(maps))
    for i in range(maps.shape[-1]):
        axes.plot(i * (1 + GAP) + place, maps[:, i], color="tab:blue", linewidth=0.7)
    margin = 0.05 * (high - low) or 1.0
    axes.set_xlim(0, MOST_CURVES * (1 + GAP) - GAP)
    axes.set_ylim(low - margin, high + margin)
    axes.axis("off")


def _height(values: np.ndarray) -> float:
    """Of a layer's row, in inches."""
    return MAP_WIDTH * values.shape[0] / values.shape[1] if values.ndim == 3 else 0.7


def _label(axes: Axes, name: str, about: str) -> None:
    axes.axis("off")
    axes.text(0, 0.56, name, transform=axes.transAxes, va="bottom", fontsize=9, fontweight="bold")
    axes.text(0, 0.5, about, transform=axes.transAxes, va="top", fontsize=7.5, linespacing=1.3)
