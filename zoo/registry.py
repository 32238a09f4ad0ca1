"""The list of networks: register one, find it, build it."""

import difflib
import fnmatch
from collections.abc import Callable
from typing import Any, Literal

import keras

from zoo.spec import Builder, ModelSpec, ZooError

_specs: dict[str, ModelSpec] = {}


def register_model(name: str, **facts: Any) -> Callable[[Builder], Builder]:
    """Register a builder as the network `name`; `facts` are the other fields of its `ModelSpec`.

    The builder takes `name`, `input_shape` and `classes` as keywords (and `form`, where its forms differ); every other
    argument has a default.
    """

    def register(builder: Builder) -> Builder:
        if name in _specs:
            raise ZooError(f"A network named '{name}' is registered already; give this one another name.")
        _specs[name] = ModelSpec(name=name, builder=builder, **facts)
        return builder

    return register


def list_models(pattern: str = "*") -> list[str]:
    """The names that match a shell-style pattern, in the order of their registration."""
    return [name for name in _specs if fnmatch.fnmatch(name, pattern)]


def get_spec(name: str) -> ModelSpec:
    """The spec of the network `name`. Raises ZooError where there is none."""
    if name not in _specs:
        near = difflib.get_close_matches(name, _specs, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(_specs)}."
        raise ZooError(f"Unknown network '{name}'; {hint}")
    return _specs[name]


def create_model(
    name: str,
    form: Literal["training", "serving"] = "training",
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    **arguments: Any,
) -> keras.Model:
    """Build the network `name` with fresh weights, by default for its paper's input shape and classes.

    `arguments` are the network's own (`get_spec(name).arguments`). The model takes float32 [batch, *input_shape] of
    raw values and returns float32 [batch, classes], larger is likelier; a training form with auxiliary heads returns a
    list, the main scores first. Raises ZooError for what it does not know.
    """
    spec = get_spec(name)
    unknown = [argument for argument in arguments if argument not in spec.arguments]
    if unknown or form not in ("training", "serving"):
        wrong = f"argument '{unknown[0]}'; expected {sorted(spec.arguments)}" if unknown else f"form '{form}'"
        raise ZooError(f"{name} has no {wrong}.")
    shape = spec.input_shape if input_shape is None else input_shape
    if not (_all_whole(shape) and len(shape) == len(spec.input_shape)):
        raise ZooError(f"{name} takes one {spec.input}, shaped like {spec.input_shape}; received the shape {shape}.")
    classes = spec.classes if classes is None else classes
    if not _all_whole([classes]):
        raise ZooError(f"{name} has a score for each class, 1 or more of them; received {classes}.")
    if spec.has_forms:
        arguments["form"] = form
    return spec.builder(name=name, input_shape=tuple(shape), classes=classes, **arguments)


def _all_whole(numbers: Any) -> bool:
    return isinstance(numbers, tuple | list) and all(isinstance(number, int) and number > 0 for number in numbers)


def serving_form(model: keras.Model) -> keras.Model:
    """The network without its auxiliary heads, sharing every layer that is left; itself where it has none."""
    return model if len(model.outputs) == 1 else keras.Model(model.input, model.outputs[0], name=model.name)
