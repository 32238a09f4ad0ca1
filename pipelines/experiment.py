"""A tracked training run from recipe to recorded test accuracy: what `zoo train` does."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from pipelines.datasets import Dataset, load_dataset
from pipelines.evaluation import evaluate
from pipelines.figures.curves import learning_curves
from pipelines.recipes import Recipe
from pipelines.tracking import TrackedRun, track
from pipelines.training import fit


@dataclass(frozen=True)
class TrainedRun:
    """What a finished run came to."""

    run_id: str
    recipe: Recipe
    model: keras.Model
    data: Dataset
    validation_accuracy: float
    test_accuracy: float


class EpochLog(keras.callbacks.Callback):
    """Records each epoch's metrics in the run while it goes on."""

    def __init__(self, run: TrackedRun) -> None:
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log `loss`, `accuracy`, `val_loss` and `val_accuracy`; Keras counts epochs from 0, the run from 1."""
        self.run.log_epoch(epoch + 1, logs or {})


def run_experiment(recipe: Recipe, callbacks: Iterable[keras.callbacks.Callback] = ()) -> TrainedRun:
    """Train a recipe, evaluate it once on the test images, and record everything in one MLflow run.

    Raises UsageError, PipelineError or ZooError for what the user can mend; the run is then marked FAILED.
    """
    data = load_dataset(**recipe.dataset.options)
    with track(recipe, "train") as run:
        run.log_dataset(data)
        fitted = fit(recipe, data, [EpochLog(run), *callbacks])
        run.log_metrics({"parameters": sum(math.prod(weight.shape) for weight in fitted.model.trainable_weights)})
        run.log_figure(learning_curves(fitted.history, recipe.name), "learning_curves.png")
        evaluation = evaluate(fitted.model, data.test, data.class_names)
        run.log_metrics({"test_accuracy": evaluation.accuracy, "test_loss": evaluation.loss})
        run.log_text(evaluation.report(), "test_report.txt")
        for filename, figure in evaluation.figures().items():
            run.log_figure(figure, f"test_{filename}")
        run.log_model(fitted.model)
    return TrainedRun(run.id, recipe, fitted.model, data, fitted.validation_accuracy, evaluation.accuracy)
