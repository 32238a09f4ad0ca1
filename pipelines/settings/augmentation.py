"""The steps that a recipe's `augmentation` lists, in order."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.settings.strict import Strict

Side = Annotated[int, Field(gt=0)]
Size = tuple[Side, Side]
Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(ge=0.1, le=10)]


class ShiftExpansion(Strict):
    """Each image and its four shifts, up, down, left and right: five images of one in every epoch. The first step.

    Nielsen, Neural Networks and Deep Learning, chapter 6: `expand_mnist.py`, with 1 pixel.
    """

    step: Literal["shift_expansion"]
    pixels: int = Field(gt=0)


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
    factor: float = Field(gt=0, le=0.9)


class Shear(Strict):
    """Slant each image by up to this angle either way."""

    step: Literal["shear"]
    degrees: float = Field(gt=0, lt=90)


class Flip(Strict):
    """Mirror every second image, by chance: `horizontal` swaps left and right, `vertical` top and bottom."""

    step: Literal["flip"]
    axis: Literal["horizontal", "vertical"]


class Crop(Strict):
    """Cut a window out of each image at a random place."""

    step: Literal["crop"]
    padding: int = Field(0, ge=0, description="pixels of zero that are put around the image first")
    size: Size | None = Field(
        None, description="height and width in pixels; without it the image's. Validation and test see the centre"
    )

    @model_validator(mode="after")
    def _changes_something(self) -> "Crop":
        if not self.padding and self.size is None:
            raise ValueError("a crop needs padding or a size, as in padding: 4")
        return self


class ResizedCrop(Strict):
    """Cut a window of random area, aspect ratio and place out of each image and resample it (bilinear).

    Szegedy et al. 2014 (GoogLeNet), section 6; the fields' usual values are the paper's.
    """

    step: Literal["resized_crop"]
    area: tuple[Share, Share] = Field((0.08, 1.0), description="least and most, as shares of the image's")
    ratio: tuple[Ratio, Ratio] = Field((3 / 4, 4 / 3), description="least and most, width by height")
    size: Size | None = Field(
        None, description="height and width in pixels; without it the image's. Validation and test see the centre"
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ResizedCrop":
        for name, (least, most) in (("area", self.area), ("ratio", self.ratio)):
            if least > most:
                raise ValueError(f"{name} goes from the least to the most, received [{least}, {most}]")
        return self


class Elastic(Strict):
    """Displace every pixel by a smooth random field, another for each image.

    Simard, Steinkraus and Platt 2003, section 2, where MNIST does best with alpha 34 and sigma 4. Both components of
    the field are uniform from −1 to 1 at every pixel, blurred by a Gaussian whose weights sum to 1, times alpha; the
    blurred field is not normalised again. The root of their mean square is then alpha / (2 sigma √(3π)): 1.4 pixels
    with the paper's values.
    """

    step: Literal["elastic"]
    alpha: float = Field(gt=0, le=10_000, description="pixels")
    sigma: float = Field(ge=0.5, description="standard deviation of the Gaussian in pixels")


class PCAColour(Strict):
    """Add to all pixels of an image one random colour, along the principal components of the training pixels.

    Krizhevsky et al. 2012 (AlexNet), section 4.1. Each component is multiplied by N(0, deviation) and by the standard
    deviation of the training pixels along it. The paper says "eigenvalue", the square of that, which would be a
    thousand grey levels; the standard deviation is what the authors' program cuda-convnet2 takes. What leaves 0…255
    is not cut off.
    """

    step: Literal["pca_colour"]
    deviation: float = Field(0.1, gt=0, le=10)


class Cutout(Strict):
    """Cover a square at a random place of each image; what of it lies beyond the border is lost.

    DeVries and Taylor 2017. The paper covers with zeros after its pixels were brought to a mean of zero, that is with
    the mean colour: `fill` says which grey it is here.
    """

    step: Literal["cutout"]
    size: int = Field(gt=0, description="side of the square in pixels")
    fill: float = Field(0.0, ge=0, le=255, description="value of the covered pixels; 0 is black")


class MixUp(Strict):
    """Mix each image and its label with another of the batch, λ : 1 − λ with one λ ~ Beta(alpha, alpha) a batch.

    Zhang et al. 2017. The last step.
    """

    step: Literal["mixup"]
    alpha: float = Field(ge=0.01, le=100)


class CutMix(Strict):
    """Cover a rectangle of each image with that of another of the batch; labels are mixed by the covered area.

    Yun et al. 2019: one rectangle a batch, of the image's shape and of the area 1 − λ, λ ~ Beta(alpha, alpha), its
    centre anywhere, cut at the border. The last step.
    """

    step: Literal["cutmix"]
    alpha: float = Field(ge=0.01, le=100)


AugmentationStep = Annotated[
    ShiftExpansion
    | Shift
    | Rotation
    | Scale
    | Shear
    | Flip
    | Crop
    | ResizedCrop
    | Elastic
    | PCAColour
    | Cutout
    | MixUp
    | CutMix,
    Field(discriminator="step"),
]
