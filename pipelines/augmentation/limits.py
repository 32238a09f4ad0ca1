"""What a recipe's steps must keep to, given the images: the fields alone do not show it."""

from collections.abc import Sequence

from pipelines.augmentation.change import Shape
from pipelines.augmentation.steps import shape_after
from pipelines.errors import UsageError
from pipelines.settings.augmentation import (
    AugmentationStep,
    Crop,
    CutMix,
    Cutout,
    Elastic,
    MixUp,
    PCAColour,
    ResizedCrop,
    Shift,
    ShiftExpansion,
)


def check_limits(steps: Sequence[AugmentationStep], image_shape: Shape) -> None:
    """Raise UsageError for a step that cannot be done at its place, or not to images of this shape."""
    shape = image_shape
    for i, step in enumerate(steps):
        if isinstance(step, ShiftExpansion) and i:
            raise UsageError(
                f"augmentation.{i}.step is shift_expansion, which makes five images of one; it must be the first step."
            )
        if isinstance(step, MixUp | CutMix) and i < len(steps) - 1:
            raise UsageError(
                f"augmentation.{i}.step is {step.step}, which mixes images and labels; it must be the last step, and "
                "the only one of its kind."
            )
        _check_size(step, f"augmentation.{i}", shape)
        shape = shape_after(step, shape)


def _check_size(step: AugmentationStep, field: str, shape: Shape) -> None:
    height, width, channels = shape
    images, smaller = f"images of {height}x{width}", min(height, width)
    match step:
        case ShiftExpansion(pixels=pixels) | Shift(pixels=pixels) if pixels >= smaller:
            raise UsageError(f"{field}.pixels is {pixels:g}; for {images} expected less than {smaller}.")
        case Crop(padding=padding, size=size) if size and (
            size[0] > height + 2 * padding or size[1] > width + 2 * padding
        ):
            raise UsageError(
                f"{field}.size is {list(size)}, larger than {images} with a padding of {padding}; expected at most "
                f"[{height + 2 * padding}, {width + 2 * padding}]."
            )
        case Crop(padding=padding) if padding >= smaller:
            raise UsageError(
                f"{field}.padding is {padding}, so that a window could miss {images}; expected less than {smaller}."
            )
        case ResizedCrop(size=size) if size and (size[0] > height or size[1] > width):
            raise UsageError(
                f"{field}.size is {list(size)}, larger than {images}; expected at most [{height}, {width}]."
            )
        case Elastic(sigma=sigma) if sigma > smaller:
            raise UsageError(f"{field}.sigma is {sigma:g}; for {images} expected at most {smaller}.")
        case PCAColour() if channels != 3:
            raise UsageError(f"{field}.step is pca_colour, and the images are grey; it needs three channels.")
        case Cutout(size=size) if size > smaller:
            raise UsageError(f"{field}.size is {size}; for {images} expected at most {smaller}.")
