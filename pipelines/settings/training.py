"""How a recipe's network is trained: update rule, learning rate over time, penalties, when to stop."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.settings.strict import Strict

MOST = 1_000_000
"""Epochs: more than any run has, and few enough to count with."""


class Optimizer(Strict):
    """The update rule."""

    name: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(gt=0, description="at its highest, after warm-up")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="of sgd: look ahead along the momentum")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, times the learning rate, per step")


class Regularization(Strict):
    """What the training loss adds to the loss of the examples."""

    l2: float = Field(
        0.0,
        ge=0,
        description="Nielsen's λ: adds λ / (2 · mini-batches of an epoch) times the sum of all squared kernel weights",
    )
    decay: float = Field(
        0.0,
        ge=0,
        description="adds decay / 2 times that sum, as AlexNet's weight decay: it goes through the momentum",
    )


class _Schedule(Strict):
    warmup_epochs: float = Field(0.0, ge=0, le=MOST, description="epochs of linear rise from zero")

    @model_validator(mode="before")
    @classmethod
    def _without_open_horizon(cls, fields: Any) -> Any:
        """Take `epochs: null`, a cosine's default, as not given: `schedule.name` alone can then name another kind."""
        if isinstance(fields, dict) and "epochs" in fields and fields["epochs"] is None:
            return {name: value for name, value in fields.items() if name != "epochs"}
        return fields


class Constant(_Schedule):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class Cosine(_Schedule):
    """Half a cosine, from the warm-up's end to zero."""

    name: Literal["cosine"]
    epochs: int | None = Field(
        None, gt=0, le=MOST, description="over how many, from the run's beginning, it falls; by default the run's"
    )


class Steps(_Schedule):
    """From the end of each of these epochs on, this multiple of the learning rate."""

    name: Literal["steps"]
    epochs: list[Annotated[int, Field(gt=0, le=MOST)]] = Field(min_length=1, description="rising")
    factors: list[Annotated[float, Field(ge=0)]] = Field(description="of optimizer.learning_rate, one for each epoch")

    @model_validator(mode="after")
    def _paired(self) -> "Steps":
        if len(self.epochs) != len(self.factors):
            raise ValueError(f"{len(self.epochs)} epochs need as many factors, received {len(self.factors)}")
        if any(a >= b for a, b in pairwise(self.epochs)):
            raise ValueError(f"epochs must rise, received {self.epochs}")
        return self


class Exponential(_Schedule):
    """The learning rate times `factor` after every so many epochs, in stairs."""

    name: Literal["exponential"]
    factor: float = Field(gt=0, lt=1)
    every_epochs: int = Field(1, gt=0, le=MOST)


class Plateau(Strict):
    """The learning rate times `factor` whenever validation accuracy has not risen for `patience` epochs."""

    name: Literal["plateau"]
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(gt=0, description="epochs")


Schedule = Annotated[Constant | Cosine | Steps | Exponential | Plateau, Field(discriminator="name")]


class EarlyStopping(Strict):
    """End the run when a measure of validation has not got better for `patience` epochs."""

    patience: int = Field(gt=0, description="epochs")
    metric: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    min_delta: float = Field(0.0, ge=0, description="what counts as better")
