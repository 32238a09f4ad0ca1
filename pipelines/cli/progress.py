"""Live progress of training and of answering."""

import time
from typing import Any

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.cli.console import err, percent

SECONDS_BETWEEN_LINES = 5.0


class TrainingProgress(keras.callbacks.Callback):
    """A bar over the epochs in a terminal; a line now and then where the output is a file."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.last_line = time.monotonic()
        self.bar = _bar("epochs  {task.fields[metrics]}")
        self.task: TaskID = self.bar.add_task(title, total=None, metrics="")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Show the bar."""
        self.bar.update(self.task, total=self.params["epochs"])
        self.bar.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Show the epoch's metrics."""
        logs = logs or {}
        metrics = f"loss {logs['loss']:.4f}"
        if "val_accuracy" in logs:
            metrics += f", validation accuracy {percent(logs['val_accuracy'])}"
        self.bar.update(self.task, completed=epoch + 1, metrics=metrics)  # a resumed run begins in the middle
        if not err.is_terminal and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            err.print(f"{self.title}: epoch {epoch + 1} of {self.params['epochs']}, {metrics}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Take the bar away."""
        self.bar.stop()

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()  # also when training was interrupted, or the cursor would stay hidden


class PredictionProgress(keras.callbacks.Callback):
    """A bar over the batches that a network answers, in a terminal; a line at the start where the output is a file."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.bar = _bar("batches")
        self.task: TaskID = self.bar.add_task(title, total=None)

    def on_predict_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Show the bar, or the line."""
        self.bar.update(self.task, total=self.params["steps"])
        self.bar.start()
        if not err.is_terminal:
            err.print(self.title, markup=False)

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the bar."""
        self.bar.update(self.task, advance=1)

    def __enter__(self) -> "PredictionProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def _bar(unit: str) -> Progress:
    """A bar that goes when it is stopped, and is for terminals alone; `unit` is rich's template of what it counts."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
