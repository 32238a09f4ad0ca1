"""What all parts of a recipe have in common."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Fields that are checked, cannot be misspelt, and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
