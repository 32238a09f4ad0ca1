"""What came of a search: its trials one after another, how much each field matters, and whether its winner is one."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.fields import short_names
from pipelines.figures.objective import Direction, factor_of, fence, label_of
from pipelines.figures.plain import PlainFigure

if TYPE_CHECKING:
    from pipelines.tuning.trials import Trial


SEEDS_SPREAD = 0.16


def objective_over_trials(trials: "Sequence[Trial]", objective: str, direction: Direction, *, best: int) -> Figure:
    """Each trial's objective by its number, the best so far, and trial 0, which is the recipe as it stands.

    `best` is the number of the trial that the search takes for its best, which has a ring.
    Failed trials are crosses at the bottom; those that are neither finished nor failed are left out. Where trials were
    trained for different numbers of epochs, as in a hyperband, colour and size say for how many. A later trial far
    worse than the others is a triangle at the edge, or they would all be one line.
    """
    figure = PlainFigure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    factor = factor_of(objective)
    ordered = sorted(trials, key=lambda trial: trial.number)
    finished = [trial for trial in ordered if trial.objective is not None]
    failed = [trial.number for trial in ordered if trial.objective is None and trial.error]
    numbers = np.array([trial.number for trial in finished])
    values = np.array([factor * (trial.objective or 0.0) for trial in finished])
    last = max((trial.number for trial in ordered), default=0)
    if finished:
        edge = fence(values, direction)
        beyond = (values < edge if direction == "max" else values > edge) & (
            numbers != 0
        )  # with which all are compared
        _draw_trials(figure, axes, numbers, values, np.array([trial.epochs for trial in finished]), ~beyond)
        so_far = list(accumulate(values, max if direction == "max" else min))
        axes.step([*numbers, last + 0.5], [*so_far, so_far[-1]], where="post", color="tab:green", label="best so far")
        axes.scatter(
            numbers[numbers == best],
            values[numbers == best],
            s=110,
            facecolors="none",
            edgecolors="tab:red",
            linewidths=1.6,
            zorder=4,
            label=f"the best (trial {best})",
        )
        if numbers[0] == 0:
            axes.axhline(values[0], color="0.35", linestyle="--", linewidth=1, label="the recipe (trial 0)")
        _set_range(axes, values[~beyond])
        low, high = axes.get_ylim()
        if beyond.any():
            at, marker = (low, "v") if direction == "max" else (high, "^")
            places = np.full(beyond.sum(), at)
            label = f"worse than {at:.4g}" + (" %" if factor == 100 else "")
            axes.scatter(numbers[beyond], places, marker=marker, color="0.5", clip_on=False, zorder=3, label=label)
        axes.set_ylim(low, high)
    if failed:
        # In parts of the axes' height, whatever the objective's range.
        axes.scatter(
            failed,
            np.full(len(failed), 0.03),
            marker="x",
            color="tab:red",
            transform=axes.get_xaxis_transform(),
            zorder=3,
            label="failed",
        )
    axes.set_title(_heading(len(finished), len(failed)), fontsize=11)
    axes.set_xlim(-0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("trial")
    axes.set_ylabel(label_of(objective))
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    if finished or failed:
        figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def importance(shares: Mapping[str, float], objective: str) -> Figure:
    """How much each field matters to the objective, greatest first: shares of 1 by dotted name, of at least one."""
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    figure = PlainFigure(figsize=(7, 1.4 + 0.36 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    names = dict(zip(shares, short_names(list(shares)), strict=True))
    bars = axes.barh(range(len(ordered)), [100 * share for _, share in ordered], color="tab:blue", height=0.65)
    axes.bar_label(bars, [f" {100 * share:.0f} %" for _, share in ordered], fontsize=9)
    axes.set_yticks(range(len(ordered)), [names[field] for field, _ in ordered])
    axes.invert_yaxis()
    axes.set_xlim(0, 100 * max(shares.values(), default=1.0) * 1.12)
    axes.set_xlabel("share of what the searched fields explain (%)")
    axes.set_title(f"How much each field matters to {label_of(objective).removesuffix(' (%)')}: a hint", fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def seeds_compared(groups: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Test accuracies (0 to 1) of runs that differ in their seeds, a column a group: each run, and mean ± deviation."""
    figure = PlainFigure(figsize=(1.8 + 2.1 * len(groups), 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    names = []
    for place, (name, shares) in enumerate(groups.items()):
        values = [100 * share for share in shares]
        colour = f"C{place}"
        beside = np.linspace(-1, 1, len(values)) * SEEDS_SPREAD if len(values) > 1 else np.zeros(len(values))
        axes.scatter(place - 0.1 + beside, values, s=34, color=colour, alpha=0.7, label="_")
        names.append(name)
        if not values:
            continue
        mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None
        axes.errorbar(place + 0.22, mean, yerr=spread, fmt="D", capsize=6, color=colour)
        names[-1] += f"\n{mean:.2f} %" if spread is None else f"\n{mean:.2f} ± {spread:.2f} %"
        names[-1] += f"\n{len(values)} seed{'s' if len(values) > 1 else ''}"
    axes.set_xticks(range(len(groups)), names)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.margins(y=0.15)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylabel("test accuracy (%)")
    axes.set_xlabel("each run, and their mean ± standard deviation", fontsize=9, color="0.35")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure


def _draw_trials(
    figure: Figure, axes: Axes, numbers: np.ndarray, values: np.ndarray, epochs: np.ndarray, shown: np.ndarray
) -> None:
    if len(set(epochs[shown].tolist())) < 2:
        axes.scatter(numbers[shown], values[shown], s=26, color="tab:blue", zorder=3, label="trial")
        return
    sizes = 14 + 46 * epochs[shown] / epochs.max()
    points = axes.scatter(
        numbers[shown], values[shown], s=sizes, c=epochs[shown], cmap="viridis_r", zorder=3, label="trial"
    )
    bar = figure.colorbar(points, ax=axes, label="epochs", pad=0.01)
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _set_range(axes: Axes, values: np.ndarray) -> None:
    low, high = float(values.min()), float(values.max())
    margin = 0.1 * (high - low) or abs(high) * 0.01 or 0.01
    axes.set_ylim(low - margin, high + margin)
    axes.ticklabel_format(axis="y", useOffset=False)


def _heading(finished: int, failed: int) -> str:
    trials = "1 trial" if finished + failed == 1 else f"{finished + failed} trials"
    return f"{trials}, {failed} failed" if failed else trials
