"""What a run in progress records, and how it reaches the tracking store."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines.delivery import MODEL_FILE, deliver, is_away
from pipelines.journal import Journal
from pipelines.passwords import on_one_line, without_passwords

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from pipelines.datasets import Dataset

Status = Literal["FINISHED", "FAILED", "KILLED"]
PATIENCE = 10.0
"""Seconds before a tracking store that was away is asked again."""
log = logging.getLogger(__name__)


class TrackedRun:
    """A run in progress: the recipe's training, a search, one of its trials, or an ensemble.

    What is recorded is in the run's journal before it is sent, so that a tracking store which goes away loses nothing
    and holds nobody up: it is asked again later, and what it missed is sent then.
    """

    def __init__(self, client: MlflowClient, journal: Journal) -> None:
        self.client = client
        self.journal = journal
        self.id = journal.run_id
        self.tags: Mapping[str, str] = journal.facts["tags"]
        """As the run began."""
        self._epochs = journal.epochs()
        self._model: keras.Model | None = None
        self._next_try = 0.0
        self._warned = False

    @property
    def checkpoint(self) -> Path:
        """Where the state of its training is kept until it is finished."""
        return self.journal.checkpoint

    def go_on(self, tags: Mapping[str, str]) -> None:
        """Say that an interrupted run is being worked on again, and tag it."""
        self._record("status", status="RUNNING")
        self.tag({"zoo.error": "", **tags})

    def tag(self, tags: Mapping[str, str]) -> None:
        """Tag the run."""
        self._record("tags", values=dict(tags))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record an epoch's metrics; the first epoch is 1. One that is on record already, from before an interruption,
        is left as it is."""
        if epoch not in self._epochs:
            self._epochs.add(epoch)
            self._record("metrics", values={name: float(value) for name, value in metrics.items()}, step=epoch)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record final metrics."""
        self._record("metrics", values={name: float(value) for name, value in metrics.items()}, step=0)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; a value that is no text is written as JSON."""
        texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in params.items()}
        # MLflow takes a hundred at once.
        for start in range(0, len(texts), 100):
            self._record("params", values=dict(list(texts.items())[start : start + 100]))

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of the run."""
        self._file(path).write_text(text, "utf-8")
        self._record("file", path=path)

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Keep a figure as an image of the run."""
        figure.savefig(self._file(path))
        self._record("file", path=path)

    def log_dataset(self, data: "Dataset") -> None:
        """Record which images or signals were trained on, by name and digest."""
        self.tag({"zoo.dataset_digest": data.digest})
        profile = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
        schema = {
            "signal" if data.has_signals else "image": [str(data.train.images.dtype), *data.input_shape],
            "classes": len(data.class_names),
        }
        dataset = {
            "name": data.name,
            "digest": data.digest[:36],  # as long as MLflow takes; the tag has it whole
            "source_type": "local",
            "source": json.dumps({"uri": data.name}),
            "schema": json.dumps(schema),
            "profile": json.dumps(profile),
        }
        self._record("dataset", dataset=dataset)

    def log_model(self, model: "keras.Model") -> None:
        """Keep the trained network: as MLflow's model `model`, whose files hold `data/model.keras`."""
        model.save(self._file(MODEL_FILE))
        self._model = model
        self._record("model")

    def end(self, status: Status, error: str = "", *, resumable: bool = False) -> None:
        """Close the run, and its journal if all has arrived and the run cannot be resumed."""
        if error:
            self.tag({"zoo.error": error[:500]})
        self._next_try = 0.0
        self._record("status", status=status)
        if not resumable:
            self.checkpoint.unlink(missing_ok=True)
        if resumable or self.journal.unsent():
            self.journal.release()
        else:
            self.journal.remove()

    def _file(self, path: str) -> Path:
        file = self.journal.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _record(self, kind: str, **values: Any) -> None:
        """Write down, then send, unless the store was away a moment ago."""
        self.journal.append(kind, **values)
        begun = time.monotonic()
        if begun < self._next_try:
            return
        try:
            deliver(self.client, self.journal, self._model)
        except (MlflowException, OSError) as error:
            if not self._warned:
                self._warned = True
                what = "does not answer" if is_away(error) else f"refuses ({on_one_line(str(error))})"
                log.warning(
                    "The tracking store %s %s; the run goes on, and what it records is kept in %s.",
                    without_passwords(self.journal.facts["uri"]),
                    what,
                    self.journal.folder,
                )
            # So that waiting for it takes a tenth of the time at most.
            self._next_try = time.monotonic() + max(PATIENCE, 10 * (time.monotonic() - begun))
        else:
            self._next_try, self._warned = 0.0, False
