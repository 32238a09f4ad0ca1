"""The values that a search may give a field."""

from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.settings.strict import Strict


class Range(Strict):
    """Numbers from `min` to `max`, both included; whole ones where both are whole."""

    min: int | float
    max: int | float
    step: int | float | None = Field(None, gt=0)
    sampling: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be below max ({self.max})")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"a log range starts above zero, min is {self.min}")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError(f"the step of a log range is a factor above 1, received {self.step}")
        return self


class Choice(Strict):
    """One of a list of values."""

    choices: list[Any] = Field(min_length=2)
