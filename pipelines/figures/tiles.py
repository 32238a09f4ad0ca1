"""Images side by side in one axes, which is drawn many times faster than an axes for each."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

GAP = 0.12
"""Between two tiles, in widths of a tile."""
TILE_PIXELS = 64


def show_tile(axes: Axes, pixels: np.ndarray, column: int, row: int = 0, cmap: str = "gray", **options: Any) -> None:
    """One image [height, width] or [height, width, 1 or 3] at a place of the grid; a tile is one unit wide.

    `options` are those of `imshow`.
    """
    height, width = pixels.shape[:2]
    # A tile is about as wide as this: what is smaller shows its pixels, what is larger is averaged.
    options.setdefault("interpolation", "nearest" if width <= TILE_PIXELS else "auto")
    left, top = column * (1 + GAP), row * (height / width + GAP)
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    axes.imshow(flat, cmap=cmap, extent=(left, left + 1, top + height / width, top), **options)


def frame(axes: Axes, columns: int, rows: int = 1, ratio: float = 1.0) -> None:
    """Fit the axes to a grid of `columns` by `rows` tiles, each `ratio` times as high as wide."""
    axes.set_xlim(0, columns * (1 + GAP) - GAP)
    axes.set_ylim(rows * (ratio + GAP) - GAP, 0)
    axes.set_aspect("equal")
    axes.axis("off")


def show_input(axes: Axes, values: np.ndarray) -> None:
    """What a network takes: an image of pixels 0…255 [height, width, 1 or 3], or a signal [samples, 1] as a curve."""
    if values.ndim == 2:
        axes.plot(values[:, 0], color="black", linewidth=0.6)
        axes.set_xlim(0, len(values) - 1)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        return
    axes.axis("off")
    pixels = np.clip(values / 255, 0, 1)
    axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=1)
