"""Figures of what does not change: pooled maps of a shifted input, and a maximum over detectors of a rotated one."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.figures.filters import scaled
from pipelines.figures.plain import PlainFigure
from pipelines.figures.tiles import GAP, frame, show_tile

COLOURS = {"max": "tab:blue", "average": "tab:orange", "l2": "tab:green", "none": "0.6"}
NAMES = {"max": "max", "average": "average", "l2": "L2", "none": "no pooling"}
BARS_AT = 2
FOLLOWED = ("tab:blue", "tab:orange", "tab:green")


def shift_invariance(unpooled: float, pooled: Mapping[str, Mapping[int, float]], title: str) -> Figure:
    """How much a map changes when its input is shifted by one: as bars for windows of 2, and by the window's size.

    Args:
        unpooled: relative change of the map itself, 0 where nothing changes.
        pooled: relative change after pooling, by the kind of pooling and the side of its windows.
    """
    figure = PlainFigure(figsize=(8.4, 3.5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    bars, curves = figure.subplots(1, 2, width_ratios=(1, 1.25))
    values = {"none": unpooled} | {kind: changes[BARS_AT] for kind, changes in pooled.items() if BARS_AT in changes}
    shown = bars.bar(
        [NAMES[kind] for kind in values],
        [100 * value for value in values.values()],
        color=[COLOURS[kind] for kind in values],
        width=0.7,
    )
    bars.bar_label(shown, fmt="%.1f %%", fontsize=8)
    bars.margins(y=0.12)
    bars.set_ylabel("relative change (%)")
    bars.set_title(f"windows of {BARS_AT}", fontsize=9)
    curves.axhline(100 * unpooled, color=COLOURS["none"], linestyle="--", label=NAMES["none"])
    for kind, changes in pooled.items():
        sizes = list(changes)
        curves.plot(sizes, [100 * changes[size] for size in sizes], marker="o", color=COLOURS[kind], label=NAMES[kind])
    sizes = sorted({size for changes in pooled.values() for size in changes})
    curves.set_xscale("log", base=2)
    curves.set_xticks(sizes, [str(size) for size in sizes])
    curves.set_xlabel("side of the pooling window")
    curves.set_title("by the window's side", fontsize=9)
    for axes in (bars, curves):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    curves.legend(fontsize=8)
    return figure


def rotation_invariance(
    detectors: Mapping[float, np.ndarray],
    inputs: Mapping[float, np.ndarray],
    angles: np.ndarray,
    responses: np.ndarray,
    title: str,
) -> Figure:
    """Detectors of one pattern, each tuned to a rotation of it, and what they and their maximum answer.

    Args:
        detectors: kernels [height, width, channels] by the angle that each is tuned to, in degrees.
        inputs: some of the rotated inputs, pixels 0…255 [height, width, channels], by their angle.
        angles: of all inputs, [count].
        responses: float [count, detectors]; 1 is a perfect match.
    """
    figure = PlainFigure(figsize=(9, 4.8), layout="constrained")
    figure.suptitle(title, fontsize=10)
    above, middle, below = figure.subplots(3, 1, height_ratios=(1, 1, 4))
    # Some are followed by their colours; the curves of all would hide one another.
    every = max(len(detectors) // 8, 1)
    colours = dict(zip(range(0, len(detectors), every), FOLLOWED, strict=False))
    for i, (angle, kernel) in enumerate(detectors.items()):
        show_tile(above, scaled(kernel), i, vmin=0, vmax=1)
        _write_above(above, i, f"{angle:g}°", colours.get(i, "black"))
        if i in colours:
            below.plot(angles, responses[:, i], color=colours[i], label=f"detector tuned to {angle:g}°")
    for i, (angle, pixels) in enumerate(inputs.items()):
        show_tile(middle, np.clip(pixels / 255, 0, 1), i, vmin=0, vmax=1)
        _write_above(middle, i, f"{angle:g}°", "black")
    for axes, tiles, heading in ((above, detectors, "detectors\ntuned to"), (middle, inputs, "inputs\nrotated by")):
        frame(axes, len(tiles))
        axes.text(-0.2, 0.5, heading, ha="right", va="center", fontsize=8)
    below.plot(angles, responses.max(axis=1), color="black", linewidth=2.4, label=f"maximum over all {len(detectors)}")
    below.axhline(0, color="black", linewidth=0.6)
    below.set_xlim(float(angles.min()), float(angles.max()))
    below.set_xticks(np.arange(0, 361, 45))
    below.set_ylim(top=1.25)
    below.set_xlabel("rotation of the input (degrees)")
    below.set_ylabel("response (1: a perfect match)")
    below.tick_params(labelsize=8)
    below.legend(fontsize=8, loc="upper right", ncols=4)
    return figure


def _write_above(axes: Axes, column: int, text: str, colour: str) -> None:
    axes.text(column * (1 + GAP) + 0.5, -0.06, text, ha="center", va="bottom", fontsize=7.5, color=colour)
