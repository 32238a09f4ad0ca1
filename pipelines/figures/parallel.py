"""Parallel coordinates: every trial of a search as a line across its fields to its objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from pipelines.fields import short_names
from pipelines.figures.objective import Direction, factor_of, fence, label_of
from pipelines.figures.plain import PlainFigure
from pipelines.settings.search import Choice, Range

if TYPE_CHECKING:
    from pipelines.tuning.trials import Trial

Scale = Literal["linear", "log", "choice"]
INACTIVE = -0.13
"""Where a line crosses the axis of a field that its trial did not have; axes go from 0 to 1."""
SPREAD = 0.03
"""How far lines that share a choice lie apart, or a hundred of them would look like one."""
LONG = 14
"""Characters of a choice that fit beside its axis."""


@dataclass(frozen=True)
class _Axis:
    title: str
    places: np.ndarray
    """Of the trials, from 0 to 1; NaN where a trial has no value."""
    ticks: list[tuple[float, str]]


def scale_of(space: Range | Choice) -> Scale:
    """How the values of a searched field are laid out."""
    return space.sampling if isinstance(space, Range) else "choice"


def parallel_coordinates(
    trials: "Sequence[Trial]", scales: Mapping[str, Scale], objective: str, direction: Direction, *, best: int
) -> Figure:
    """The finished trials across an axis a field, and last their objective, by which they are coloured.

    `best` is the number of the trial that the search takes for its best, whichever others are as good.
    `scales` has the searched fields by dotted name, in the order of the axes: `choice` for what is no range. Colours
    go by rank, so that a few bad trials do not make all others look alike. A field that a trial did not have, for its
    condition did not hold, is crossed at "–".
    """
    factor = factor_of(objective)
    finished = [trial for trial in trials if trial.objective is not None]
    values = np.array([factor * (trial.objective or 0.0) for trial in finished])
    is_best = np.array([trial.number == best for trial in finished])
    order = np.lexsort((values if direction == "max" else -values, is_best))  # the best is drawn last
    finished, values = [finished[i] for i in order], values[order]
    titles = short_names(list(scales))
    axes_ = [
        _axis(title, [t.settings.get(f) for t in finished], scales[f]) for f, title in zip(scales, titles, strict=True)
    ]
    axes_.append(_objective_axis(label_of(objective), values, direction))
    figure = PlainFigure(figsize=(max(1.55 * len(axes_) + 1.0, 5.5), 5.2), layout="constrained")
    axes = figure.subplots()
    inactive = any(np.isnan(axis.places).any() for axis in axes_)
    for place, axis in enumerate(axes_):
        _draw_axis(axes, place, axis, is_last=place == len(axes_) - 1)
    if finished:
        _draw_trials(axes, finished, np.stack([axis.places for axis in axes_], axis=1))
    axes.set_xlim(-0.75, len(axes_) - 0.5)
    axes.set_ylim(INACTIVE - 0.06 if inactive else -0.05, 1.12)
    axes.axis("off")
    several = f"{len(finished)} trials, the worst violet, the best yellow"
    figure.suptitle("1 trial" if len(finished) == 1 else several, fontsize=11)
    if finished:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _axis(title: str, values: list[Any], scale: Scale) -> _Axis:
    """Values of the trials, worst first, on an axis; None where a trial has none."""
    there = [value for value in values if value is not None]
    if scale == "choice" or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return _choices(title, values)
    logarithmic = scale == "log" and all(value > 0 for value in there)
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    if not there:
        return _Axis(title, numbers, [])
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))

    def place(value: "np.ndarray | float") -> Any:
        if low == high:
            return value * 0 + 0.5
        if logarithmic:
            return np.log(value / low) / np.log(high / low)
        return (value - low) / (high - low)

    return _Axis(
        title, place(numbers), [(float(place(tick)), f"{tick:.6g}") for tick in _ticks(low, high, logarithmic)]
    )


def _objective_axis(title: str, values: np.ndarray, direction: Direction) -> _Axis:
    """As `_axis`, but for what lies far from the rest, which is put at the axis's worse end."""
    if not len(values):
        return _axis(title, [], "linear")
    edge = fence(values, direction)
    beyond = values < edge if direction == "max" else values > edge
    if not beyond.any():
        return _axis(title, list(values), "linear")
    rest = values[~beyond]
    end = rest.min() if direction == "max" else rest.max()
    axis = _axis(title, list(np.where(beyond, end, values)), "linear")
    place, sign = (0.0, "≤") if direction == "max" else (1.0, "≥")
    # The end's label takes the place of a tick that would lie under it.
    ticks = [tick for tick in axis.ticks if abs(tick[0] - place) > 0.04]
    return _Axis(axis.title, axis.places, [(place, f"{sign} {end:.4g}"), *ticks])


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if low == high:
        return [low]
    locators = (
        [LogLocator(subs=(1.0,)), LogLocator(subs=(1.0, 3.0)), LogLocator(subs=(1.0, 2.0, 5.0))] if logarithmic else []
    )
    for locator in [*locators, MaxNLocator(5)]:
        ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
        if len(ticks) > 2:
            return ticks
    return [low, high]


def _choices(title: str, values: list[Any]) -> _Axis:
    texts = ["" if value is None else _text(value) for value in values]
    pairs = {text: value for text, value in zip(texts, values, strict=True) if value is not None}
    ordered = sorted(pairs, key=lambda text: _sorting(pairs[text], text))
    middles = np.linspace(0.08, 0.92, len(ordered)) if len(ordered) > 1 else np.full(len(ordered), 0.5)
    heights = dict(zip(ordered, middles, strict=True))
    places = np.array([heights.get(text, np.nan) for text in texts])
    for text in ordered:
        members = [i for i, other in enumerate(texts) if other == text]
        if len(members) > 1:
            places[members] += np.linspace(-SPREAD, SPREAD, len(members))
    return _Axis(title, places, [(float(heights[text]), _shortened(text)) for text in ordered])


def _sorting(value: Any, text: str) -> tuple[Any, ...]:
    """Numbers and lists of numbers by size, all else by its text."""
    numbers = value if isinstance(value, list | tuple) else [value]
    if numbers and all(isinstance(number, int | float) for number in numbers):
        return 0, [float(number) for number in numbers], text
    return 1, [], text


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def _draw_axis(axes: Axes, place: int, axis: _Axis, *, is_last: bool) -> None:
    axes.plot([place, place], [0, 1], color="0.3", linewidth=1, zorder=3)
    title = axis.title
    if len(title) > LONG + 2:  # it goes on two lines
        head, point, tail = title.rpartition("." if "." in title else " ")
        title = f"{head}{point.strip()}\n{tail}" if "." in title else title.replace(" ", "\n", 1)
    axes.text(place, 1.04, title, ha="center", va="bottom", fontsize=9)
    outline = [withStroke(linewidth=2.5, foreground="white")]
    # On the left lines come in; right of the last axis there are none.
    beside, side = (0.06, "left") if is_last else (-0.06, "right")
    for height, text in axis.ticks:
        axes.plot([place - 0.025, place + 0.025], [height, height], color="0.3", linewidth=1, zorder=3)
        axes.text(place + beside, height, text, ha=side, va="center", fontsize=8, zorder=6, path_effects=outline)
    if np.isnan(axis.places).any():
        axes.text(place, INACTIVE - 0.015, "–", ha="center", va="top", fontsize=12, zorder=6)


def _draw_trials(axes: Axes, finished: "list[Trial]", places: np.ndarray) -> None:
    """Lines through `places` [trials, axes], the worst first and the best last."""
    count = len(finished)
    ranks = np.linspace(0, 1, count) if count > 1 else np.ones(1)
    colours = matplotlib.colormaps["viridis"](ranks)
    lines = np.stack(
        [np.broadcast_to(np.arange(places.shape[1]), places.shape), np.nan_to_num(places, nan=INACTIVE)], 2
    )
    alpha = float(np.clip(12 / count, 0.35, 0.9))
    axes.add_collection(LineCollection(list(lines), colors=colours, linewidths=1.1, alpha=alpha, zorder=2))
    first = next((i for i, trial in enumerate(finished) if trial.number == 0), None)
    if first is not None:
        axes.plot(*lines[first].T, color="black", linestyle="--", linewidth=1.8, zorder=5, label="the recipe (trial 0)")
    best = f"the best (trial {finished[-1].number})"
    axes.plot(*lines[-1].T, color="tab:red", linewidth=2.4, zorder=4, label=best)
