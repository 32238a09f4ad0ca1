"""What follows from a run's past after each of its epochs: the next rate, the best weights, the end, a checkpoint."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipelines.checkpoints import Arrays, assign, read_state, take_state, values_of, write_state
from pipelines.interruption import check
from pipelines.recipes import Recipe
from pipelines.schedules import plateau_factor
from pipelines.settings.training import EarlyStopping, Plateau


class Course(keras.callbacks.Callback):
    """A run's past, epoch by epoch, and what the recipe makes of it.

    All decisions are functions of the history alone, so that a run that is resumed decides as it would have.
    """

    def __init__(self, recipe: Recipe, checkpoint: Path | None, until: int | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.checkpoint = checkpoint
        self.last = recipe.epochs if until is None else min(until, recipe.epochs)
        """How many epochs there are to be at most, by the recipe or for now."""
        self.history: dict[str, list[float]] = {}
        self.best: Arrays | None = None

    @property
    def epochs(self) -> int:
        """How many epochs there have been."""
        return len(self.history.get("loss", ()))

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train, or for now."""
        stopping, losses = self.recipe.early_stopping, self.history.get("loss", [])
        return (
            self.epochs >= self.last
            or not np.isfinite(losses[-1:]).all()
            or (stopping is not None and since_best(self.history, stopping) >= stopping.patience)
        )

    @property
    def kept_epoch(self) -> int:
        """The epoch, from 0, whose weights are kept."""
        last = self.epochs - 1
        if self.recipe.keep == "last":
            return last
        # The latest of equals, as network3.py has it.
        return last - int(np.argmax(self.history["val_accuracy"][::-1]))

    def resume(self, model: keras.Model) -> None:
        """Take up the state of the checkpoint, if there is one, into a compiled model. Raises PipelineError."""
        state = read_state(self.checkpoint) if self.checkpoint else None
        if state is None:
            return
        source = f"The checkpoint {self.checkpoint}"
        assign(model.variables, state.variables, source)
        assign(model.optimizer.variables, state.optimizer, source)
        self.history, self.best = state.history, state.best

    def put_back_best(self, model: keras.Model) -> None:
        """Give the model the weights that the recipe keeps."""
        if self.best is not None:
            assign(model.variables, self.best, "The best epoch")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go on with the learning rate that the past has led to."""
        self._set_rate()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notice an end that was asked for."""
        check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write down the epoch and decide what follows."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.recipe.keep == "best" and self.kept_epoch == epoch:
            self.best = values_of(self.model.variables)
        self._set_rate()
        # A loss that is no number any more: nothing that follows can mend it, and no checkpoint is worth having.
        if self.checkpoint and np.isfinite(self.history["loss"][-1]):
            write_state(take_state(self.model, self.history, self.best), self.checkpoint)
        self.model.stop_training = self.is_over
        check()

    def _set_rate(self) -> None:
        schedule = self.recipe.schedule
        if isinstance(schedule, Plateau):
            factor = plateau_factor(schedule, self.history.get("val_accuracy", []))
            self.model.optimizer.learning_rate = self.recipe.optimizer.learning_rate * factor


def since_best(history: dict[str, list[float]], stopping: EarlyStopping) -> int:
    """Epochs since the measure was last better by more than `min_delta` than ever before."""
    sign = 1.0 if stopping.metric == "val_accuracy" else -1.0
    best, since = float("-inf"), 0
    for value in history.get(stopping.metric, []):
        better = sign * value > best + stopping.min_delta
        best, since = (sign * value, 0) if better else (best, since + 1)
    return since
