"""A search's progress in a terminal: a table that grows; a line for each trial where the output is a file."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from pipelines.cli.console import err, percent
from pipelines.fields import short_names
from pipelines.tuning.plan import Plan
from pipelines.tuning.trials import Trial

MOST_ROWS = 20


class SearchView:
    """What a search tells while it goes on; a context manager."""

    def __init__(self, plan: Plan, fields: Sequence[str], workers: int = 1) -> None:
        self.plan, self.fields, self.workers = plan, list(fields), workers
        self.as_lines = not err.is_terminal
        self.trials: dict[int, Trial] = {}
        self.states: dict[int, str] = {}
        self.began: dict[int, float] = {}
        self.live = Live(
            console=err, transient=True, get_renderable=self.render, refresh_per_second=2, redirect_stdout=False
        )

    def __enter__(self) -> "SearchView":
        if not self.as_lines:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def recall(self, trials: Sequence[Trial]) -> None:
        """These were over before the search was interrupted."""
        self.trials.update({trial.number: trial for trial in trials})

    def begin(self, trial: Trial) -> None:
        """A trial begins, or goes on."""
        # The table is drawn by another thread: the state comes last.
        self.began[trial.number] = time.monotonic()
        self.trials[trial.number] = trial
        self.states[trial.number] = "begins"

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """It has been trained for so many epochs of so many."""
        value = metrics.get(self.plan.objective)
        now = "" if value is None else f", {shown(self.plan.objective, value)}"
        self.states[trial.number] = f"epoch {epoch} of {epochs}{now}"

    def end(self, trial: Trial) -> None:
        """It is over."""
        self.trials[trial.number] = trial
        self.states.pop(trial.number, None)
        if not self.as_lines:
            return
        number = f"trial {trial.number}, {len(self.ended())} of {self.plan.trials}"
        err.print(f"{number}: {_said(self.plan, trial)}, {self.footer()}", markup=False)

    def ended(self) -> list[Trial]:
        """The trials that are over."""
        return [trial for number, trial in list(self.trials.items()) if number not in self.states]

    def footer(self) -> str:
        """The best so far, and the time that is left."""
        ended = self.ended()
        finished = [trial.objective for trial in ended if trial.objective is not None]
        best = (max if self.plan.direction == "max" else min)(finished, default=None)
        said = "" if best is None else f"best so far {shown(self.plan.objective, best)}"
        left = self.plan.trials - len(ended)
        if not ended or not left:
            return said
        # Of one that goes on with another trial's weights, its own part is all that counts.
        seconds = sum(trial.seconds for trial in ended) / len(ended) * left / self.workers
        return f"{said}, about {duration(seconds)} left"

    def render(self) -> Group:
        """The latest trials, and below them the footer."""
        now = time.monotonic()
        # Those in progress with the time that they have had.
        rows = [
            replace(trial, seconds=now - self.began[number]) if number in self.states else trial
            for number, trial in sorted(self.trials.items())
        ]
        table = trials_table(rows[-MOST_ROWS:], self.plan, self.fields, self.states)
        return Group(table, Text(f"{len(self.ended())} of {self.plan.trials} trials, {self.footer()}", style="dim"))


def trials_table(
    trials: Sequence[Trial],
    plan: Plan,
    fields: Sequence[str],
    states: dict[int, str] | None = None,
    best: Trial | None = None,
) -> Table:
    """Trials with their settings, a row each; `states` are those of trials in progress, `best` is printed bold."""
    right = (Column(head, justify="right", no_wrap=True) for head in ("epochs", "time"))
    table = Table("trial", Column(plan.objective, no_wrap=True), "settings", *right, box=box.SIMPLE_HEAD)
    names = dict(zip(fields, short_names(fields), strict=True))
    for trial in trials:
        state = (states or {}).get(trial.number)
        score = "failed" if trial.objective is None else shown(plan.objective, trial.objective)
        settings = ", ".join(f"{names[field]} {short(value)}" for field, value in trial.settings.items())
        if trial.number == 0:
            settings = f"the recipe: {settings}"
        elif trial.goes_on_with is not None:
            settings = f"trial {trial.goes_on_with} further: {settings}"
        row = [str(trial.number), state or score, settings, str(trial.epochs or ""), duration(trial.seconds)]
        style = "bold" if trial is best else "red" if trial.error else "dim" if state is not None else None
        table.add_row(*(Text(cell) for cell in row), style=style)
    return table


class TrialLines:
    """What a worker says of its own trials, a line each."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def recall(self, trials: Sequence[Trial]) -> None:
        """Those of others."""

    def begin(self, trial: Trial) -> None:
        """A trial begins, or goes on."""
        err.print(f"trial {trial.number} begins in run {trial.run_id}")

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """It has been trained for so many epochs of so many."""

    def end(self, trial: Trial) -> None:
        """It is over."""
        err.print(f"trial {trial.number}: {_said(self.plan, trial)}", markup=False)


def shown(metric: str, value: float) -> str:
    """A metric's value as people read it."""
    return percent(value) if metric.endswith("accuracy") else f"{value:.4f}"


def short(value: Any) -> str:
    """A setting's value in a cell."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `1.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3600:.1f} h"


def _said(plan: Plan, trial: Trial) -> str:
    if trial.objective is None:
        return f"failed, {trial.error}"
    return f"{plan.objective} {shown(plan.objective, trial.objective)}"
