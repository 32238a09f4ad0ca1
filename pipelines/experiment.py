"""A tracked training run from recipe to recorded test accuracy: what `zoo train` does."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from mlflow.entities import Run

from pipelines.datasets import Dataset
from pipelines.evaluation import record_evaluation
from pipelines.figures.curves import learning_curves
from pipelines.provenance import git_tags
from pipelines.recipes import Recipe
from pipelines.results_table import recipe_digest
from pipelines.tracked_run import TrackedRun
from pipelines.tracking import interrupted_run, recipe_of, search_runs, track
from pipelines.training import fit, load_for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """What a finished run came to."""

    run_id: str
    recipe: Recipe
    model: keras.Model
    data: Dataset
    validation_accuracy: float | None
    """None where no images are held out."""
    test_accuracy: float


class EpochLog(keras.callbacks.Callback):
    """Records each epoch's metrics in the run while it goes on."""

    def __init__(self, run: TrackedRun) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log `loss`, `accuracy` and what validation measures; Keras counts epochs from 0, the run from 1."""
        self.run.log_epoch(epoch + 1, logs or {})


def run_experiment(
    recipe: Recipe,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    *,
    resume: bool = False,
    name: str | None = None,
    parent: str | None = None,
) -> TrainedRun:
    """Train a recipe, evaluate it once on the test images, and record everything in one MLflow run.

    With `resume`, the latest interrupted run of this very recipe goes on, if there is one: in the same MLflow run, to
    the weights that it would have had. `name` is MLflow's for the run, `parent` the id of the run that it is nested in.
    Raises UsageError, PipelineError or ZooError for what the user can mend; the run
    is then marked FAILED.
    """
    interrupted = interrupted_run(recipe) if resume else None
    data = load_for(recipe)
    if interrupted and interrupted.dataset_digest() not in (None, data.digest):
        log.warning("Run %s was interrupted on other data than today's: training anew.", interrupted.run_id)
        interrupted = None
    with track(recipe, "train", name=name, parent=parent, resume=interrupted) as run:
        run.log_dataset(data)
        fitted = fit(recipe, data, [EpochLog(run), *callbacks], checkpoint=run.checkpoint)
        run.log_metrics({"parameters": sum(math.prod(weight.shape) for weight in fitted.model.trainable_weights)})
        run.log_figure(learning_curves(fitted.history, recipe.name), "learning_curves.png")
        evaluation = record_evaluation(run, fitted.model, data, recipe, fitted.history)
        run.log_model(fitted.model)
    return TrainedRun(run.id, recipe, fitted.model, data, fitted.validation_accuracy, evaluation.accuracy)


def finished_run(recipe: Recipe, dataset_digest: str, *, allow_changed: bool = True) -> Run | None:
    """The latest finished run of the very same recipe, seed, data and sources."""
    wanted = {"zoo.recipe": recipe.name, "zoo.seed": str(recipe.seed), "zoo.kind": "train"}
    conditions = [f"tags.`{tag}` = '{value}'" for tag, value in wanted.items()]
    here = git_tags()
    for run in search_runs(" and ".join([*conditions, "attributes.status = 'FINISHED'"])):
        if (
            is_of_sources(here, run.data.tags, allow_changed)
            and run.data.tags.get("zoo.dataset_digest", "").startswith(dataset_digest)
            and "test_accuracy" in run.data.metrics
            and recipe_digest(recipe_of(run)) == recipe_digest(recipe)
        ):
            return run
    return None


def is_of_sources(here: Mapping[str, str], tags: Mapping[str, str], allow_changed: bool) -> bool:
    """Whether a run's sources were of the commit in `here`, of `git_tags`, and unchanged or allowed to be changed."""
    is_same = tags.get("mlflow.source.git.commit") == here.get("mlflow.source.git.commit")
    return is_same and (allow_changed or tags.get("zoo.git_changed") != "true")
