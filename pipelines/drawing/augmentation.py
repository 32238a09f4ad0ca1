"""The picture of an augmentation: training images as they are, and as a recipe changes them."""

import textwrap
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from pipelines.drawing.picture import Picture
from pipelines.errors import UsageError
from pipelines.figures.augmentation import augmentation_sheet
from pipelines.references import Reference
from pipelines.settings.augmentation import AugmentationStep
from pipelines.subjects import some_of_each
from pipelines.training import augmentation_of

VERSIONS = 8
"""Of each image that are drawn."""


def draw_augmentation(reference: Reference, seed: int) -> Picture:
    """Training images of the recipe, each beside some of what its augmentation makes of it.

    Raises UsageError where there is no recipe or it augments nothing, PipelineError where its dataset is not there.
    """
    recipe = reference.recipe
    if recipe is None:
        raise UsageError(f"'{reference.text}' is a network and no recipe: it is a recipe that augments images.")
    no_steps = UsageError(f"The recipe {recipe.name} has no augmentation.")
    if not recipe.augmentation:  # then its dataset need not be there
        raise no_steps
    data = reference.data
    augment = augmentation_of(recipe, data)
    if augment is None:
        raise no_steps
    chosen = some_of_each(data.train, seed)
    images, labels = data.train.images[chosen], data.train.labels[chosen]
    versions, mixtures = [], []
    for i in range(VERSIONS):
        changed, answers = augment(
            tf.constant(images, tf.float32),
            tf.constant(labels),
            tf.fill([len(images)], tf.constant(i % augment.copies, tf.int64)),
            tf.constant([seed, i], tf.int32),
        )
        versions.append(changed.numpy())
        mixtures.append(answers.numpy())
    steps = " → ".join(map(_words, recipe.augmentation))
    title = f"{reference.title}: training images of {recipe.dataset.title}, as they are and augmented\n"
    shares = [[_shares(label, data.class_names) for label in column] for column in mixtures if augment.soft_labels]
    figure = augmentation_sheet(
        images,
        np.stack(versions),
        [[_mixture(label) for label in column] for column in shares],
        [f"version {i % augment.copies}" for i in range(VERSIONS)] if augment.copies > 1 else ["augmented"],
        title + textwrap.fill(steps, 110),
    )
    numbers = {
        "recipe": recipe.name,
        "dataset": recipe.dataset.title,
        "steps": [step.model_dump(mode="json") for step in recipe.augmentation],
        "copies": augment.copies,
        "input_shape": augment.input_shape,
        "labels": [data.class_names[label] for label in labels],
    }
    return Picture(figure, numbers | ({"shares": shares} if shares else {}))


def _words(step: AugmentationStep) -> str:
    """A step with its fields: `shift (pixels 2)`."""
    fields = step.model_dump(mode="json", exclude={"step"}, exclude_none=True)
    return f"{step.step} ({', '.join(f'{name} {_short(value)}' for name, value in fields.items())})"


def _short(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(map(_short, value)) if isinstance(value[0], float) else "x".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _shares(label: np.ndarray, class_names: tuple[str, ...]) -> dict[str, float]:
    """The classes of a soft label, the largest share first."""
    return {class_names[i]: float(label[i]) for i in np.argsort(-label, kind="stable") if label[i] > 0}


def _mixture(shares: Mapping[str, float]) -> str:
    """The same for people, a line each: `7: 0.62`."""
    return "\n".join(f"{name}: {share:.2f}" for name, share in shares.items() if share >= 0.005)
