"""The form in which a recipe is released: trained on all training images, for a number of epochs that is known."""

from collections.abc import Mapping, Sequence

from pipelines.recipes import Recipe
from pipelines.schedules import plateau_factor
from pipelines.settings.training import Constant, Cosine, Plateau, Schedule, Steps


def final_form(recipe: Recipe, epochs: int, history: Mapping[str, Sequence[float]]) -> Recipe:
    """The recipe with nothing held out for validation and nothing left to be decided by it.

    The learning rates of its `epochs` are those that the first epochs of a run of `recipe` have. `history` is that
    run's: its `val_accuracy` says when a plateau dropped the rate. Raises UsageError for more epochs than the recipe's
    cosine has.
    """
    return recipe.override(
        {
            "dataset.validation": 0,
            "epochs": epochs,
            "schedule": _decided(recipe, epochs, history).model_dump(mode="json"),
            "keep": "last",
            "early_stopping": None,
            "search": {},
        }
    )


def _decided(recipe: Recipe, epochs: int, history: Mapping[str, Sequence[float]]) -> Schedule:
    """The recipe's schedule as one that neither the number of epochs nor validation changes."""
    schedule = recipe.schedule
    if isinstance(schedule, Cosine):
        return schedule.model_copy(update={"epochs": schedule.epochs or recipe.epochs})
    if isinstance(schedule, Plateau):
        return _as_steps(schedule, history["val_accuracy"], epochs)
    return schedule


def _as_steps(schedule: Plateau, accuracies: Sequence[float], epochs: int) -> Constant | Steps:
    """The drops that these validation accuracies led to."""
    factors = [plateau_factor(schedule, accuracies[:epoch]) for epoch in range(epochs)]
    drops = {epoch: factors[epoch] for epoch in range(1, epochs) if factors[epoch] != factors[epoch - 1]}
    return Steps(name="steps", epochs=list(drops), factors=list(drops.values())) if drops else Constant()
