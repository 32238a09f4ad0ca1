"""Filling the table of results: which runs of the built-in recipes it lacks, and training them one by one.

A recipe's field `seeds` says how many consecutive seeds make its result. A row counts where it is of the recipe and the
dataset as they are today.
"""

import fnmatch
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from mlflow.entities import Run

import zoo
from pipelines.datasets.digests import Digests
from pipelines.errors import PipelineError, UsageError
from pipelines.experiment import finished_run, is_of_sources, run_experiment
from pipelines.provenance import git_tags
from pipelines.recipes import Recipe, list_recipes, load_recipe
from pipelines.results_table import TABLE, Row, append_runs, read_rows, recipe_digest
from pipelines.tracking import connect, deliver_waiting, find_run, interrupted_run

Watch = Callable[[Recipe], AbstractContextManager[keras.callbacks.Callback]]


@dataclass(frozen=True)
class Entry:
    """A recipe, and what of its result is there."""

    recipe: Recipe
    dataset_digest: str
    """As rows have it; empty where the dataset could not be loaded."""
    recorded: tuple[int, ...]
    """Seeds that have their row."""
    missing: tuple[int, ...]
    """Seeds to train."""
    minutes: float | None
    """What a run takes, judged by earlier ones; None where there are none."""
    reason: str = ""
    """Why nothing is trained, where that is not because all is there."""

    @property
    def total_minutes(self) -> float | None:
        """Of all that is missing; None where nobody knows."""
        return None if self.minutes is None else self.minutes * len(self.missing)


@dataclass(frozen=True)
class Failure:
    """A run that came to nothing."""

    recipe: Recipe
    reason: str


class TimeIsUp(KeyboardInterrupt):
    """The budget is spent; to the run the same as Ctrl-C."""


class Deadline(keras.callbacks.Callback):
    """Interrupts training at a time of `time.monotonic`, so that the run can be resumed."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end = end

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise TimeIsUp when it is, with the epoch before it kept."""
        self._look()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise TimeIsUp when it is."""
        self._look()

    def _look(self) -> None:
        if time.monotonic() >= self.end:
            raise TimeIsUp


def plan(pattern: str, table: Path) -> list[Entry]:
    """The built-in recipes whose names match `pattern`, the cheapest runs first and those of unknown cost last.

    Raises UsageError where none matches. A recipe whose dataset is not there has a reason, and nothing to train.
    """
    names = fnmatch.filter(list_recipes(), pattern)
    if not names:
        raise UsageError(f"No built-in recipe matches '{pattern}'; there are {', '.join(list_recipes())}.")
    rows, datasets = read_rows(table), Digests()
    costs = rows if table == TABLE else [*read_rows(TABLE), *rows]
    entries = [_entry(load_recipe(name), rows, costs, datasets) for name in names]
    return sorted(entries, key=lambda entry: (entry.minutes is None, entry.minutes or 0, entry.recipe.name))


def reproduce(
    entries: Sequence[Entry],
    table: Path,
    watch: Watch,
    *,
    deadline: float | None = None,
    allow_changed: bool = False,
) -> Iterator[Row | Failure]:
    """Train what the entries miss, in their order, and append each run to the table as it finishes.

    A run that was interrupted is gone on with, and one that finished without getting its row gets it now. After a
    failure the recipe's other seeds are left.

    Args:
        watch: makes the callback that shows a run's progress, open while it lasts.
        deadline: the time of `time.monotonic` after which no run is started and the current one is interrupted.
        allow_changed: take runs of sources that were changed since their commit, too.

    Raises UsageError where the sources are changed and `allow_changed` is false.
    """
    is_changed = git_tags().get("zoo.git_changed") == "true"
    if is_changed and not allow_changed and any(entry.missing for entry in entries):
        raise UsageError(
            "The sources were changed since their commit, and the project's results are of committed ones; commit "
            "first, or give a table of your own with --table FILE."
        )
    deliver_waiting(connect())  # what a tracking server missed may be a run without its row
    for entry in entries:
        for seed in entry.missing:
            if seed in _recorded(entry.recipe, entry.dataset_digest, read_rows(table)):
                continue  # another process was faster
            recipe = entry.recipe.override({"seed": seed})
            run = finished_run(recipe, entry.dataset_digest, allow_changed=allow_changed)
            if run is None:
                if deadline is not None and time.monotonic() >= deadline:
                    return
                try:
                    run = _train(recipe, watch, deadline, allow_changed)
                except TimeIsUp:
                    return
                except (PipelineError, zoo.ZooError) as error:
                    yield Failure(recipe, str(error))
                    break
            (row,) = append_runs([run], table, allow_changed=allow_changed)
            yield row


def _train(recipe: Recipe, watch: Watch, deadline: float | None, allow_changed: bool) -> Run:
    interrupted = interrupted_run(recipe)
    # What goes on with other sources than it began with is a run of neither commit.
    resume = interrupted is not None and is_of_sources(git_tags(), interrupted.facts["tags"], allow_changed)
    with watch(recipe) as progress:
        callbacks = [progress] if deadline is None else [progress, Deadline(deadline)]
        return find_run(run_experiment(recipe, callbacks, resume=resume).run_id)


def _entry(recipe: Recipe, rows: list[Row], costs: list[Row], digests: Digests) -> Entry:
    minutes = _minutes(recipe, costs)
    if not recipe.seeds:
        return Entry(recipe, "", (), (), minutes, "Its field seeds is 0.")
    try:
        digest = digests.of(recipe.dataset.options)[:12]
    except PipelineError as error:
        return Entry(recipe, "", (), (), minutes, str(error))
    wanted = range(recipe.seed, recipe.seed + recipe.seeds)
    there = _recorded(recipe, digest, rows)
    recorded = tuple(seed for seed in wanted if seed in there)
    return Entry(recipe, digest, recorded, tuple(seed for seed in wanted if seed not in there), minutes)


def _recorded(recipe: Recipe, dataset_digest: str, rows: list[Row]) -> set[int]:
    """The seeds that have a row of the recipe and the dataset as they are today."""
    wanted = (recipe.name, recipe_digest(recipe), dataset_digest)
    single = (row for row in rows if not row.members)
    return {row.seed for row in single if (row.recipe, row.recipe_digest, row.dataset_digest) == wanted}


def _minutes(recipe: Recipe, rows: list[Row]) -> float | None:
    """What a run takes, by the rows that the recipe has, those of earlier settings included."""
    of_an_epoch = [row.minutes / row.epochs for row in rows if row.recipe == recipe.name and not row.members]
    return statistics.median(of_an_epoch) * recipe.epochs if of_an_epoch else None
