"""What a search tries and what came of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

OBJECTIVES: dict[str, Literal["min", "max"]] = {
    "val_accuracy": "max",
    "val_loss": "min",
    "accuracy": "max",
    "loss": "min",
}
"""What a search can make large or small: the metrics that each epoch of a run has."""
TRIAL = "zoo.trial"
"""The tag of a trial's run with its number."""


@dataclass(frozen=True)
class Trial:
    """One trial. Its number counts from 0, and trial 0 is the recipe as it stands."""

    number: int
    settings: dict[str, Any]
    """The searched fields that were set, by dotted name, as the recipe takes them; without those whose condition did
    not hold."""
    run_id: str = ""
    """Of its MLflow run; empty where it has none yet."""
    objective: float | None = None
    """At its best epoch; None where it failed, or has not ended."""
    best_epoch: int | None = None
    """The epoch, from 1, at which the objective was best."""
    epochs: int = 0
    """How many it has been trained for; a trial that goes on with another one's weights counts that one's too."""
    goes_on_with: int | None = None
    """The trial whose weights it began with."""
    seconds: float = 0.0
    error: str = ""
    """Why it failed."""
    history: dict[str, list[float]] = field(default_factory=dict, repr=False)
    """Of each metric one value an epoch."""

    @property
    def is_finished(self) -> bool:
        """Whether it has an objective."""
        return self.objective is not None
