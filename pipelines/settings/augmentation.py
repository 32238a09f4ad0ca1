"""The steps that a recipe's `augmentation` lists, in order."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.settings.strict import Strict


class Shift(Strict):
    """Move each image by up to this much along both axes."""

    step: Literal["shift"]
    pixels: float = Field(gt=0)


class Rotation(Strict):
    """Turn each image about its centre by up to this angle either way."""

    step: Literal["rotation"]
    degrees: float = Field(gt=0, le=180)


class Scale(Strict):
    """Enlarge or shrink each image by up to this factor: 0.1 means 0.9 to 1.1 times."""

    step: Literal["scale"]
    factor: float = Field(gt=0, lt=1)


class Shear(Strict):
    """Slant each image by up to this angle either way."""

    step: Literal["shear"]
    degrees: float = Field(gt=0, lt=90)


AugmentationStep = Annotated[Shift | Rotation | Scale | Shear, Field(discriminator="step")]
