"""Keras Tuner, behind one door: a search over any fields of a recipe.

A trial is trained on the very path of `zoo train`, but the test images are left alone: validation decides. Each search
is an MLflow run, each of its trials a run nested in it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.errors import FailedTrialError, FatalError

from pipelines.datasets import Dataset
from pipelines.delivery import is_away
from pipelines.errors import PipelineError, UsageError
from pipelines.experiment import EpochLog
from pipelines.home import tuning_folder
from pipelines.recipes import Recipe
from pipelines.settings.search import Choice, Range
from pipelines.tracked_run import TrackedRun
from pipelines.tracking import track
from pipelines.training import fit, load_for

OBJECTIVE = "val_accuracy"


@dataclass(frozen=True)
class Trial:
    """One finished trial; `validation_accuracy` (0 to 1) is None where it failed, and `error` says why."""

    number: int
    run_id: str
    settings: dict[str, Any]
    validation_accuracy: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Search:
    """A finished search and its best trial's recipe, which is also in the file `winner_file`."""

    run_id: str
    trials: list[Trial] = field(repr=False)
    best: Trial
    winner: Recipe
    winner_file: Path


def search(
    recipe: Recipe,
    trials: int,
    seed: int = 1,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Search:
    """Random search over the recipe's `search:` block, `trials` trials at most (fewer where the space is smaller).

    `on_trial` hears of each trial as it ends. Raises UsageError for a recipe without a search block, PipelineError
    when every trial failed.
    """
    if not recipe.search:
        raise UsageError(
            f"The recipe {recipe.name} has no search: block; add one that maps fields to ranges or choices."
        )
    recipe.check_search()
    data = load_for(recipe)
    with track(recipe, "search", name=f"search {recipe.name}") as run:
        run.log_dataset(data)
        run.log_params({f"search.{name}": space.model_dump(mode="json") for name, space in recipe.search.items()})
        tuner = _Tuner(recipe, data, run, trials, seed, on_trial)
        try:
            tuner.search(verbose=0)  # it would print tables of its own
        except FatalError as error:
            raise PipelineError(f"{error}.") from error
        finished = [t for t in tuner.finished if t.validation_accuracy is not None]
        if not finished:
            raise PipelineError(
                f"Each of the {len(tuner.finished)} trials failed, the last with: {tuner.finished[-1].error}"
            )
        best = max(finished, key=lambda t: t.validation_accuracy or 0.0)
        winner = recipe.override({**best.settings, "search": {}})
        run.log_metrics({OBJECTIVE: best.validation_accuracy or 0.0, "trials": len(tuner.finished)})
        run.log_params({f"best.{name}": value for name, value in best.settings.items()})
        run.log_text(winner.to_yaml(), "winner.yaml")
    folder = tuning_folder() / run.id
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "winner.yaml"
    staged = file.with_suffix(".draft")
    staged.write_text(winner.to_yaml(), "utf-8")
    staged.replace(file)
    return Search(run.id, tuner.finished, best, winner, file)


def declare(recipe: Recipe) -> keras_tuner.HyperParameters:
    """The recipe's search space as Keras Tuner's hyperparameters, each named by its field.

    All are declared up front: one that Keras Tuner first sees while a trial runs is not varied in that trial.
    """
    space = keras_tuner.HyperParameters()
    for name, values in recipe.search.items():
        match values:
            case Choice():
                # As JSON, for Keras Tuner takes no lists.
                space.Choice(name, [json.dumps(value) for value in values.choices])
            case Range(min=int(), max=int()) if values.step is None or isinstance(values.step, int):
                space.Int(name, values.min, values.max, step=values.step, sampling=values.sampling)
            case Range():
                space.Float(name, values.min, values.max, step=values.step, sampling=values.sampling)
    return space


def resolve(recipe: Recipe, values: dict[str, Any]) -> dict[str, Any]:
    """A trial's values by field, as the recipe takes them."""
    resolved = {}
    for name, value in values.items():
        resolved[name] = json.loads(value) if isinstance(recipe.search[name], Choice) else value
        if isinstance(value, float):
            resolved[name] = float(f"{value:.6g}")  # steps of 0.1 add up to 0.30000000000000004
    return resolved


class _Tuner(keras_tuner.RandomSearch):
    """Keras Tuner chooses the settings and keeps the trials' states; training and tracking are ours."""

    def __init__(
        self, recipe: Recipe, data: Dataset, run: TrackedRun, trials: int, seed: int, on_trial: Callable[[Trial], None]
    ) -> None:
        self.recipe, self.data, self.parent, self.on_trial = recipe, data, run, on_trial
        self.finished: list[Trial] = []
        super().__init__(
            hypermodel=None,  # not used, since run_trial is ours
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=trials,
            seed=seed + 1,  # Keras Tuner takes 0 for "no seed"
            hyperparameters=declare(recipe),
            tune_new_entries=False,
            max_consecutive_failed_trials=trials + 1,  # failed trials are kept and shown; they do not end a search
            directory=str(tuning_folder()),
            project_name=run.id,
        )

    def run_trial(self, trial: TunerTrial, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train one trial in a run of its own."""
        number, run_id = len(self.finished) + 1, ""
        settings = resolve(self.recipe, trial.hyperparameters.values)
        try:
            recipe = self.recipe.override({**settings, "search": {}})
            with track(recipe, "trial", name=f"trial {number}", parent=self.parent.id) as run:
                run_id = run.id
                # What images there are can be searched over too.
                same = (recipe.dataset, recipe.augmentation) == (self.recipe.dataset, self.recipe.augmentation)
                data = self.data if same else load_for(recipe)
                run.log_dataset(data)
                fitted = fit(recipe, data, [EpochLog(run)])
        except Exception as error:
            if not run_id and is_away(error):  # each later trial would fail alike
                raise FatalError(f"The tracking store went away: {' '.join(str(error).split())[:300]}") from error
            self._end(Trial(number, run_id, settings, error=f"{type(error).__name__}: {error}"))
            raise FailedTrialError(str(error)) from error
        finally:
            keras.backend.clear_session()  # graphs of past trials would pile up
        self._end(Trial(number, run_id, settings, fitted.validation_accuracy))
        return {OBJECTIVE: fitted.validation_accuracy}

    def _end(self, trial: Trial) -> None:
        self.finished.append(trial)
        self.on_trial(trial)
