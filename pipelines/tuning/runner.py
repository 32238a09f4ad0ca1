"""One trial of a search, on the very path of `zoo train`; the test images are left alone."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import keras
import numpy as np
from keras_tuner.engine.trial import Trial as TunerTrial

from pipelines.datasets import Dataset
from pipelines.delivery import is_away
from pipelines.errors import PipelineError, Stopped, UsageError, reason_of
from pipelines.experiment import EpochLog
from pipelines.files import write_files
from pipelines.journal import Journal, journals
from pipelines.recipes import Recipe
from pipelines.tracked_run import TrackedRun
from pipelines.tracking import search_runs, track, tracking_uri
from pipelines.training import fit
from pipelines.tuning.oracles import SEARCH
from pipelines.tuning.plan import Plan, SearchFolder
from pipelines.tuning.space import resolve
from pipelines.tuning.trials import TRIAL, Trial

OUTCOME = "outcome.json"


class Watch(Protocol):
    """What hears of a search's progress."""

    def recall(self, trials: Sequence[Trial]) -> None:
        """These were over before the search was interrupted."""

    def begin(self, trial: Trial) -> None:
        """A trial begins, or goes on."""

    def epoch(self, trial: Trial, epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        """It has been trained for so many epochs of so many."""

    def end(self, trial: Trial) -> None:
        """It is over."""


class TrialRunner:
    """Trains a search's trials, each in an MLflow run nested in the search's."""

    def __init__(
        self,
        recipe: Recipe,
        plan: Plan,
        folder: SearchFolder,
        data: Dataset,
        watch: Watch,
        *,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """`look` is called after every batch, and raises where training is to end, besides when that was asked for."""
        self.recipe, self.plan, self.folder, self.data, self.watch, self.look = recipe, plan, folder, data, watch, look
        self.count = 0
        """How many it has trained."""

    def __call__(self, tuner_trial: TunerTrial) -> tuple[dict[str, float], int] | None:
        """Train a trial; its objective and the best epoch, from 0, or None where it failed.

        A trial that was interrupted goes on in its run, from the last whole epoch; one that had ended, without the
        search having heard of it, is not trained again.
        """
        number, search = int(tuner_trial.trial_id), tuner_trial.hyperparameters.values.get(SEARCH)
        if search != self.folder.search_id:
            raise Stopped(f"The chief has begun search {search}; this worker is of {self.folder.search_id}.")
        trial = read_outcome(self.folder, number)
        if trial is None:
            trial = self._train(new_trial(self.recipe, tuner_trial), tuner_trial)
        else:
            close_run(self.recipe, self.folder, trial)
        self.count += 1
        self.watch.end(trial)
        if trial.objective is None or trial.best_epoch is None:
            return None
        return {self.plan.objective: trial.objective}, trial.best_epoch - 1

    def _train(self, trial: Trial, tuner_trial: TunerTrial) -> Trial:
        begun, earlier = time.monotonic(), 0.0
        recipe, params, mistake = self._recipe(trial)
        options: dict[str, Any] = {"name": f"trial {trial.number}", "parent": self.folder.search_id}
        tags = {TRIAL: str(trial.number)}
        try:
            journal = journal_of(self.recipe, self.folder, trial.number)
            earlier = journal.minutes() * 60 if journal else 0.0
            with track(recipe, "trial", **options, more_tags=tags, resume=journal, params=params) as run:
                trial = replace(trial, run_id=run.id)
                self.watch.begin(trial)
                try:
                    if mistake:
                        raise mistake
                    run.log_dataset(self.data)
                    trial = self._fit(recipe, trial, tuner_trial, run)
                except Stopped:
                    raise
                except Exception as error:
                    trial = replace(trial, error=_reason(error))
                    raise
                finally:
                    if trial.is_finished or trial.error:  # before its run is ended: see `close_run`
                        trial = replace(trial, seconds=earlier + time.monotonic() - begun)
                        write_outcome(self.folder, trial)
        except Stopped:
            raise
        except Exception as error:
            if not trial.run_id:  # each later trial would fail alike
                what = "went away" if is_away(error) else "does not take a trial"
                raise Stopped(f"The tracking store {what}: {_reason(error)}") from error
            if not trial.error:
                raise
        finally:
            keras.backend.clear_session()  # graphs of past trials would pile up
        return trial

    def _recipe(self, trial: Trial) -> tuple[Recipe, dict[str, Any], UsageError | None]:
        """What a trial trains and is listed with; where its settings do not go together, the searched recipe with
        these settings, and what is wrong with them."""
        try:
            recipe = trial_recipe(self.recipe, self.plan, trial)
        except UsageError as error:
            return self.recipe, {**self.recipe.flat(), **trial.settings}, error
        return recipe, {**recipe.flat(), **trial.settings}, None

    def _fit(self, recipe: Recipe, trial: Trial, tuner_trial: TunerTrial, run: TrackedRun) -> Trial:
        values = tuner_trial.hyperparameters.values
        until = min(values.get("tuner/epochs", recipe.epochs), recipe.epochs)
        checkpoint = self.folder.checkpoint(trial.number)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        if trial.goes_on_with is not None:
            self._inherit(trial.goes_on_with, trial.number, run)
        progress = _Progress(self.watch, trial, until, self.look)
        fitted = fit(recipe, self.data, [EpochLog(run), progress], checkpoint=checkpoint, until=until)
        curve = np.array(fitted.history[self.plan.objective], float)
        if not np.isfinite(curve).any():
            raise PipelineError(f"{self.plan.objective} was never a number; try smaller learning rates.")
        value = np.nanmax(curve) if self.plan.direction == "max" else np.nanmin(curve)
        best = int(np.flatnonzero(curve == value)[-1])  # of equals the latest, as in training
        run.log_metrics({"objective": curve[best], "best_epoch": best + 1})
        return replace(
            trial, objective=float(curve[best]), best_epoch=best + 1, epochs=len(curve), history=fitted.history
        )

    def _inherit(self, past: int, number: int, run: TrackedRun) -> None:
        """Go on with another trial's weights; its epochs are this one's first."""
        checkpoint = self.folder.checkpoint(number)
        if not checkpoint.exists():
            staged = checkpoint.with_suffix(".copy")
            shutil.copy(self.folder.checkpoint(past), staged)
            staged.replace(checkpoint)
        parent = read_outcome(self.folder, past)
        if parent is None:
            raise PipelineError(f"It goes on with trial {past}, of which there is no outcome.")
        for epoch in range(parent.epochs):
            run.log_epoch(epoch + 1, {name: values[epoch] for name, values in parent.history.items()})
        run.tag({"zoo.goes_on_with": parent.run_id})


class _Progress(keras.callbacks.Callback):
    """Tells the watch of each epoch, and looks after every batch whether training is to end."""

    def __init__(self, watch: Watch, trial: Trial, epochs: int, look: Callable[[], None]) -> None:
        super().__init__()
        self.watch, self.trial, self.epochs, self.look = watch, trial, epochs, look

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.look()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self.watch.epoch(self.trial, epoch + 1, self.epochs, metrics)
        self.look()


def new_trial(recipe: Recipe, tuner_trial: TunerTrial) -> Trial:
    """Keras Tuner's trial as ours, not trained yet."""
    values = tuner_trial.hyperparameters.values
    past = values.get("tuner/trial_id")
    return Trial(int(tuner_trial.trial_id), resolve(recipe, values), goes_on_with=None if past is None else int(past))


def trial_recipe(recipe: Recipe, plan: Plan, trial: Trial) -> Recipe:
    """What a trial trains. Raises UsageError where its settings do not go together."""
    changed = recipe.override({**trial.settings, "search": {}})
    if plan.patience is None:
        return changed
    given = changed.early_stopping.model_dump() if changed.early_stopping else {}
    return changed.override({"early_stopping": {**given, "patience": plan.patience, "metric": plan.objective}})


def read_outcome(folder: SearchFolder, number: int) -> Trial | None:
    """What came of a trial; None while it has not ended."""
    try:
        return Trial(**json.loads((folder.trial(number) / OUTCOME).read_text("utf-8")))
    except FileNotFoundError:
        return None


def write_outcome(folder: SearchFolder, trial: Trial) -> None:
    """Write down what came of a trial."""
    write_files(folder.trial(trial.number), {OUTCOME: json.dumps(asdict(trial)).encode()})


def journal_of(recipe: Recipe, folder: SearchFolder, number: int) -> Journal | None:
    """Of a trial's run that is not done with; None where it has no run yet, or one that has ended."""
    tags = {"mlflow.parentRunId": folder.search_id, TRIAL: str(number)}
    for journal in journals():
        facts = journal.facts
        if facts["uri"] == tracking_uri() and tags.items() <= facts["tags"].items():
            return None if journal.status() in ("FINISHED", "FAILED") else journal
    runs = search_runs(" and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items()))
    # Without a journal: a kill came between the beginnings of the two.
    if not runs or runs[0].info.status != "RUNNING":
        return None
    return Journal.adopt(runs[0].info.run_id, tracking_uri(), "trial", runs[0].data.tags, recipe)


def close_run(recipe: Recipe, folder: SearchFolder, trial: Trial) -> None:
    """End the run of a trial whose outcome is written down, where a kill came in between."""
    journal = journal_of(recipe, folder, trial.number)
    if journal is not None:
        with contextlib.suppress(_FailedBeforeError), track(journal.recipe, "trial", resume=journal, params={}):
            if trial.error:
                raise _FailedBeforeError(trial.error)


def _reason(error: Exception) -> str:
    return " ".join(reason_of(error).split())[:500]


class _FailedBeforeError(PipelineError):
    """It did, some time ago."""
