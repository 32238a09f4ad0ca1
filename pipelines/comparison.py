"""Runs side by side: which settings differ, what came of them, and their learning curves together."""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matplotlib.figure import Figure
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError, UsageError
from pipelines.figures.curves import MOST_RUNS, curves_together
from pipelines.tracking import connect, find_run, recipe_of, search_runs
from pipelines.tuning.trials import OBJECTIVES, TRIAL

METRICS: dict[str, Literal["min", "max"]] = OBJECTIVES | {
    "best_val_accuracy": "max",
    "test_accuracy": "max",
    "epochs": "min",
    "minutes": "min",
    "parameters": "min",
}
"""What runs are compared by, and sorted from the best on: those that each epoch has are of the weights that a run ended
with, `best_val_accuracy` of its best epoch; `epochs` is how many it was trained for."""
OBJECTIVE = "objective"
"""Another one, which only trials have: what their search made large or small, at a trial's best epoch."""
LATEST = 5


@dataclass(frozen=True)
class ComparedRun:
    """What one run has to show."""

    run_id: str
    kind: str
    recipe: str
    trial: int | None
    """Its number in its search, from 0."""
    objective: str | None
    """The metric that its search makes large or small; None where it is no trial."""
    status: str
    error: str
    dataset: str
    dataset_digest: str
    settings: dict[str, Any] = field(repr=False)
    """Of its resolved recipe, by dotted name, without the recipe's name and the seed."""
    seed: int | None
    metrics: dict[str, float]
    """Those of `METRICS` and `OBJECTIVE` that it has."""
    history: dict[str, list[float]] = field(repr=False)
    """Of each metric a value an epoch; NaN where there is none."""

    @property
    def title(self) -> str:
        """`1a2b3c4d digits_cnn seed 1`; of a trial also its number."""
        what = self.recipe if self.trial is None else f"trial {self.trial}"
        return f"{self.run_id[:8]} {what}" + (f" seed {self.seed}" if self.trial is None else "")


def runs_named(references: Sequence[str]) -> list[Run]:
    """Training runs and trials, each by its id, the start of it, or a recipe's name for its latest finished training
    run. Raises UsageError where one is unknown, of another kind or named twice, and for fewer than two."""
    runs: list[Run] = []
    for reference in references:
        run = _find(reference)
        if run.info.run_id in (other.info.run_id for other in runs):
            raise UsageError(f"'{reference}' is run {run.info.run_id[:8]}, which is named already.")
        runs.append(run)
    if len(runs) < 2:
        raise UsageError(
            f"Two runs at least can be compared, and '{references[0]}' is one; name another, or nothing for the "
            f"latest {LATEST}."
        )
    return runs


def trials_of(reference: str) -> list[Run]:
    """All trials of a search, failed ones too, by their numbers. Raises UsageError for what is no search, and for a
    search of fewer than two trials."""
    search = find_run(reference, "search").info.run_id
    nested = [
        run for run in search_runs(f"tags.`mlflow.parentRunId` = '{search}'") if run.data.tags["zoo.kind"] == "trial"
    ]
    if len(nested) < 2:
        had = "one trial" if nested else "no trials"
        raise UsageError(f"The search {search[:8]} has {had}; two at least can be compared.")
    return sorted(nested, key=lambda run: (_trial(run) is None, _trial(run) or 0, run.info.start_time))


def latest_runs() -> list[Run]:
    """The latest finished training runs, newest first, on the dataset of the newest. Raises UsageError where there are
    fewer than two."""
    finished = search_runs("tags.`zoo.kind` = 'train' and attributes.status = 'FINISHED'")
    same = [run for run in finished if run.info.experiment_id == finished[0].info.experiment_id]
    if len(same) < 2:
        had = f"only one on the dataset of the newest, {same[0].info.run_id[:8]}" if same else "none"
        raise UsageError(
            f"Two finished training runs at least can be compared, and there is {had}; train, or name runs."
        )
    return same[:LATEST]


def read_runs(runs: Sequence[Run]) -> list[ComparedRun]:
    """What is known of each of the runs."""
    searches = [_search(run) for run in runs]
    objectives = {search: _objective(search) for search in set(searches)}
    return [read_run(run, objectives[search]) for run, search in zip(runs, searches, strict=True)]


def read_run(run: Run, objective: str | None = None) -> ComparedRun:
    """What is known of a run, of a trial with its search's objective; a trial whose recipe could not be made has the
    parameters that it was listed with."""
    tags = run.data.tags
    parameters = {name: _value(text) for name, text in run.data.params.items()}
    settings: dict[str, Any] = {}
    with contextlib.suppress(MlflowException, OSError, PipelineError):  # it was killed before it had one
        settings = recipe_of(run).flat()
    settings |= parameters
    seed, name = settings.pop("seed", None), settings.pop("name", None)
    epochs = _epochs(run)
    return ComparedRun(
        run_id=run.info.run_id,
        kind=tags["zoo.kind"],
        recipe=tags.get("zoo.recipe") or str(name),
        trial=_trial(run),
        objective=objective,
        status=run.info.status,
        error=tags.get("zoo.error", ""),
        dataset=_dataset(settings),
        dataset_digest=tags.get("zoo.dataset_digest", ""),
        settings=settings,
        seed=seed,
        metrics=_metrics(run, settings, epochs),
        history={
            name: [values.get(epoch, math.nan) for epoch in range(1, max(values) + 1)]
            for name, values in epochs.items()
        },
    )


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """The settings that are not the same in all runs, by dotted name; one that a run does not have differs too."""
    known = [run.settings for run in runs if run.settings]
    names = dict.fromkeys(name for settings in known for name in settings)
    return [name for name in names if any(name not in s or s[name] != known[0].get(name) for s in known)]


def by_metric(runs: Sequence[ComparedRun], metric: str) -> list[ComparedRun]:
    """The runs, the best by this metric first, those that do not have it last.

    Raises UsageError for an unknown metric, and for `objective` where the runs have none or several.
    """
    if metric not in (*METRICS, OBJECTIVE):
        raise UsageError(f"Runs cannot be sorted by '{metric}'; expected one of {', '.join((*METRICS, OBJECTIVE))}.")
    if metric == OBJECTIVE and runs and objective_of(runs) is None:
        several = sorted({run.objective for run in runs if run.objective})
        why = f"these trials have several ({', '.join(several)})" if several else "only a search's trials have one"
        raise UsageError(f"The runs cannot be sorted by their objective: {why}; expected one of {', '.join(METRICS)}.")
    sign = -1 if _direction(runs, metric) == "max" else 1
    return sorted(runs, key=lambda run: sign * run.metrics[metric] if _has(run, metric) else math.inf)


def best_of(runs: Sequence[ComparedRun], metric: str) -> float | None:
    """The best value of a metric; None where no run has it."""
    values = [run.metrics[metric] for run in runs if _has(run, metric)]
    return (max if _direction(runs, metric) == "max" else min)(values) if values else None


def objective_of(runs: Sequence[ComparedRun]) -> str | None:
    """The metric that the searches of these trials make large or small; None where there is none, or several are."""
    names = {run.objective for run in runs if run.objective}
    return names.pop() if len(names) == 1 else None


def remarks(runs: Sequence[ComparedRun]) -> list[str]:
    """Sentences on what a table of the runs does not show: that nothing differs, or that their images do."""
    said = []
    if not differing(runs):
        seeds = sorted({run.seed for run in runs if run.seed is not None})
        several = len(seeds) > 1
        said.append(f"All settings are the same{' but the seed' if several else ', and so is the seed'}.")
    titles = list(dict.fromkeys(run.dataset for run in runs))
    digests = {run.dataset_digest for run in runs if run.dataset_digest}
    if len(titles) > 1:
        said.append(f"The runs are of different datasets ({', '.join(titles)}): their metrics are not of one scale.")
    elif len({run.settings.get("dataset.validation") for run in runs if run.settings}) > 1:
        said.append("Not the same validation images were held out in all runs: their val metrics are not of one scale.")
    elif len(digests) > 1:
        said.append(f"The images of {titles[0]} were not the same in all runs: their metrics are not of one scale.")
    return said


def draw_together(runs: Sequence[ComparedRun], title: str, metric: str = "best_val_accuracy") -> Figure | None:
    """The learning curves of the runs, or of the best by this metric where there are too many.

    None where no run has an epoch.
    """
    drawn = [run for run in runs if run.history]
    if len(drawn) > MOST_RUNS:
        best = [run.run_id for run in by_metric(runs, metric) if run.history][:MOST_RUNS]
        title += f", the best {MOST_RUNS} of {len(drawn)}"
        drawn = [run for run in drawn if run.run_id in best]
    if not drawn:
        return None
    return curves_together([run.history for run in drawn], title, [run.title for run in drawn])


def _find(reference: str) -> Run:
    # A recipe's name means its training run, also where trials of it are later.
    with contextlib.suppress(UsageError):
        return find_run(reference, "train")
    try:
        return find_run(reference, "train", "trial")
    except UsageError as error:
        try:
            search = find_run(reference, "search").info.run_id[:8]
        except UsageError:
            raise error from None
        raise UsageError(f"'{reference}' is a search; zoo compare --search {search} compares its trials.") from None


def _trial(run: Run) -> int | None:
    number = run.data.tags.get(TRIAL, "")
    return int(number) if number.isdecimal() else None


def _value(text: str) -> Any:
    """A parameter as it was before it became a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _dataset(settings: Mapping[str, Any]) -> str:
    name, path = str(settings.get("dataset.name", "?")), settings.get("dataset.path")
    return f"{name} {path}" if path else name


def _search(trial: Run) -> str:
    """The id of a trial's search; empty for another run, which may be nested in one, too."""
    return trial.data.tags.get("mlflow.parentRunId", "") if trial.data.tags["zoo.kind"] == "trial" else ""


def _objective(search: str) -> str | None:
    if not search:
        return None
    with contextlib.suppress(MlflowException):  # it was deleted
        name = connect().get_run(search).data.tags.get("zoo.search.objective")
        return name if name in OBJECTIVES else None
    return None


def _direction(runs: Sequence[ComparedRun], metric: str) -> Literal["min", "max"]:
    return OBJECTIVES.get(objective_of(runs) or "", "max") if metric == OBJECTIVE else METRICS[metric]


def _epochs(run: Run) -> dict[str, dict[int, float]]:
    """Of each metric its values by epoch, from 1; there may be none of some epochs, which a server missed."""
    client, epochs = connect(), {}
    for metric in OBJECTIVES:
        if metric in run.data.metrics:
            # What was recorded at step 0 is of the run as a whole.
            values = {m.step: m.value for m in client.get_metric_history(run.info.run_id, metric) if m.step > 0}
            if values:
                epochs[metric] = values
    return epochs


def _metrics(run: Run, settings: Mapping[str, Any], epochs: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """The numbers that a run is compared by."""
    last = max(map(max, epochs.values()), default=0)
    metrics: dict[str, float] = {"epochs": last}
    finite = {epoch: value for epoch, value in epochs.get("val_accuracy", {}).items() if math.isfinite(value)}
    kept = 0 if settings.get("keep") == "best" else last
    if finite:
        metrics["best_val_accuracy"] = best = max(finite.values())
        if settings.get("keep") == "best":
            # Of equally good epochs the latest, as in training.
            kept = max(epoch for epoch, value in finite.items() if value == best)
    metrics |= {name: values[kept] for name, values in epochs.items() if kept in values}
    recorded = run.data.metrics
    once = ("test_accuracy", "minutes", "parameters", OBJECTIVE)
    metrics |= {name: recorded[name] for name in once if name in recorded}
    return {name: metrics[name] for name in (*METRICS, OBJECTIVE) if name in metrics}


def _has(run: ComparedRun, metric: str) -> bool:
    return math.isfinite(run.metrics.get(metric, math.nan))
