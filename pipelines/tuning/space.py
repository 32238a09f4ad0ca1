"""A recipe's search space in Keras Tuner's terms, and Keras Tuner's values in the recipe's.

Each hyperparameter is named by its field. Choices are JSON, for Keras Tuner takes neither lists nor blocks. A range
with a step is the index of its values, for Keras Tuner counts with floats: of 0, 0.1, …, 0.6 it never tries the last.
Whatever of the recipe's own values lies outside its space is JSON too, which no range holds.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as kinds
from keras_tuner.src.engine import conditions

import zoo
from pipelines.batches import steps_per_epoch
from pipelines.datasets import Dataset, Split
from pipelines.errors import PipelineError, UsageError
from pipelines.recipes import Recipe
from pipelines.settings.search import Choice, Range, contexts, described, held, identity, in_order, is_number
from pipelines.training import augmentation_of, build_network

# `Parent.to_proto` prints a value, and so would every message between the chief and a worker.
conditions.print = lambda *args: None

Values = dict[str, Any]


def encoded(value: Any) -> str:
    """A choice as Keras Tuner has it."""
    return json.dumps(value)


def declare(recipe: Recipe) -> keras_tuner.HyperParameters:
    """The recipe's search space, parents before children; the defaults are the recipe's own values where it has them.

    All are declared up front: one that Keras Tuner first sees while a trial runs is not varied in that trial.
    """
    space = keras_tuner.HyperParameters()
    for field in in_order(recipe.search):
        # Of grandparents too: a hyperparameter that came through the protocol can have values though its own condition
        # is not met. And not by `conditional_scope`, which knows no second parent.
        parents = [
            conditions.Parent(parent, [encoded(choice) for choice in choices])
            for parent, choices in held(recipe.search, field).items()
        ]
        own = _encoded_own(recipe, field)
        space.merge([_hyperparameter(field, recipe.search[field], own, parents)])
    return space


def _hyperparameter(field: str, values: Range | Choice, own: Any, parents: list[Any]) -> kinds.HyperParameter:
    if isinstance(values, Choice):
        choices = [encoded(choice) for choice in values.choices]
        return kinds.Choice(field, choices, default=own if own in choices else None, conditions=parents)
    kind = kinds.Int if values.is_whole else kinds.Float
    low, high, sampling = values.min, values.max, values.sampling
    if values.step is not None and values.count is not None:
        kind, low, high, sampling = kinds.Int, 0, values.count - 1, "linear"
    default = low if isinstance(own, str) else own
    return kind(field, low, high, sampling=sampling, default=default, conditions=parents)


def own_values(recipe: Recipe, space: keras_tuner.HyperParameters) -> Values:
    """The recipe as it stands: its own value, encoded, of each field that is varied in trials with these values."""
    values: Values = {}
    for hp in space.space:
        if hp.name in recipe.search and _is_active(hp, values):
            values[hp.name] = _encoded_own(recipe, hp.name)
    return values


def is_inside(space: keras_tuner.HyperParameters, values: Values) -> bool:
    """Whether each active hyperparameter has one of its values, which the recipe's own need not be."""
    return all(_holds(hp, values.get(hp.name)) for hp in space.space if _is_active(hp, values))


def _is_active(hp: kinds.HyperParameter, values: Values) -> bool:
    return all(condition.is_active(values) for condition in hp.conditions)


def _holds(hp: kinds.HyperParameter, value: Any) -> bool:
    if isinstance(hp, kinds.Int | kinds.Float):
        whole = isinstance(hp, kinds.Int)
        return is_number(value) and (not whole or isinstance(value, int)) and hp.min_value <= value <= hp.max_value
    return value in hp.values


def resolve(recipe: Recipe, values: Values) -> Values:
    """A trial's settings by field, as the recipe takes them, parents before children.

    Of `values`, Keras Tuner's, those are left out that are no fields of the search, and those whose condition is not
    met: of hyperparameters that came through Keras Tuner's protocol such values are there.
    """
    settings: Values = {}
    for field in in_order(recipe.search):
        met = all(
            parent in settings and identity(settings[parent]) in map(identity, choices)
            for parent, choices in held(recipe.search, field).items()
        )
        if met and field in values:
            settings[field] = _decoded(recipe, field, values[field])
    return settings


def _decoded(recipe: Recipe, field: str, value: Any) -> Any:
    space, own = recipe.search[field], own_value(recipe, field)
    if isinstance(space, Choice) or isinstance(value, str):
        return json.loads(value)
    if space.step is None and value == own:
        return own  # with all its digits
    number = space.within(value) if space.step is None else space.at(value)
    return _typed(number, own)


def _typed(value: Any, own: Any) -> Any:
    """A number of a range as whole as the recipe's own value is."""
    return int(value) if isinstance(value, float) and value.is_integer() and isinstance(own, int) else value


def own_value(recipe: Recipe, field: str) -> Any:
    """What the recipe itself has there; of a network's argument that it does not set, the network's default.

    None where it has nothing there, as in a block that another choice of its parent would bring.
    """
    node: Any = recipe.model_dump(mode="json")
    node["network"]["arguments"] = {**zoo.get_spec(recipe.network.name).arguments, **recipe.network.arguments}
    for part in field.split("."):
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (LookupError, TypeError, ValueError):
            return None
    return json.loads(json.dumps(node))  # tuples are lists in a recipe


def _encoded_own(recipe: Recipe, field: str) -> Any:
    """The recipe's own value as the space has it; as JSON that is not in it where the space has no such value."""
    own, space = own_value(recipe, field), recipe.search[field]
    if isinstance(space, Choice):
        # As the recipe takes the choices: `{name: cosine}` is `{name: cosine, warmup_epochs: 0}`.
        return next((encoded(choice) for choice in space.choices if _is_own(recipe, field, choice)), encoded(own))
    if space.step is not None:
        index = space.index(own)
        return encoded(own) if index is None else index
    if not is_number(own) or not space.min <= own <= space.max:
        return encoded(own)
    if space.is_whole:
        return int(own) if float(own).is_integer() else encoded(own)
    return float(own)


def _is_own(recipe: Recipe, field: str, choice: Any) -> bool:
    own = own_value(recipe, field)
    if identity(choice) == identity(own):
        return True
    try:
        return identity(own_value(recipe.override({field: choice}), field)) == identity(own)
    except (UsageError, zoo.ZooError):  # a choice for trials in which other fields are other ones
        return False


def grid_size(space: keras_tuner.HyperParameters) -> int:
    """The number of combinations, those counted twice that differ in fields that are not varied in them.

    Of a range without a step, unless it is linear and of whole numbers, Keras Tuner takes ten values.
    """
    return math.prod(len(_grid(hp)) for hp in space.space)


def grid_values(space: keras_tuner.HyperParameters, index: int) -> Values | None:
    """One of the `grid_size` combinations; the last field changes fastest.

    None for one that differs from another only in fields that are not varied in it: among these the one counts that
    has the first of all their values.
    """
    places: list[int] = []
    for hp in reversed(space.space):
        index, place = divmod(index, len(_grid(hp)))
        places.insert(0, place)
    values: Values = {}
    for hp, place in zip(space.space, places, strict=True):
        if _is_active(hp, values):
            values[hp.name] = _grid(hp)[place]
        elif place:
            return None
    return values


def _grid(hp: kinds.HyperParameter) -> Sequence[Any]:
    """All values, in their order, without a list of each whole number."""
    if isinstance(hp, kinds.Int) and hp.sampling == "linear":
        return range(hp.min_value, hp.max_value + 1, hp.step)
    return sorted(hp.values) if isinstance(hp, kinds.Int | kinds.Float) else list(hp.values)


def check_space(recipe: Recipe, data: Dataset) -> None:
    """Raise UsageError where a trial could not begin: where the network cannot be built, the images not be augmented or
    a batch not be filled with some value of a field that is searched; of a range, its ends and one between them.

    `data` is what `load_dataset` gives.
    """
    recipe.check_search()
    built = _Built(data)
    try:
        built.add(recipe)
        for field, space in recipe.search.items():
            for context in contexts(recipe.search, field):
                for value in space.probes():
                    settings = {**context, field: _typed(value, own_value(recipe, field))}
                    try:
                        built.add(recipe.override(settings))
                    except (PipelineError, zoo.ZooError) as error:
                        where = f"The search space of {recipe.name}: {described(settings)}"
                        raise UsageError(f"{where}: {error}") from error
    finally:
        keras.backend.clear_session()


class _Built:
    """What was built of a dataset's trials so far; the same is not built twice."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.augmentations: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.networks: set[str] = set()

    def add(self, recipe: Recipe) -> None:
        """Build what a trial of this recipe builds before its first step."""
        steps = identity([step.model_dump(mode="json") for step in recipe.augmentation])
        if steps not in self.augmentations:
            augmentation = augmentation_of(recipe, self.data)
            shape = augmentation.input_shape if augmentation else self.data.train.images.shape[1:]
            self.augmentations[steps] = (augmentation.copies if augmentation else 1, shape)
        copies, shape = self.augmentations[steps]
        steps_per_epoch(recipe, self.data.train, copies)
        network = identity([recipe.network.model_dump(mode="json"), recipe.precision, shape])
        if network not in self.networks:
            build_network(recipe, _shaped(self.data, shape))
            self.networks.add(network)


def _shaped(data: Dataset, shape: tuple[int, ...]) -> Dataset:
    """The dataset without validation, but with the inputs' shape that a network is shown."""
    return replace(data, validation=Split(np.empty((0, *shape), np.uint8), np.empty(0, np.int64)))
