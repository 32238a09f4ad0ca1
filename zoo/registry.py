"""The list of networks: what each is, where it comes from, and how to build it."""

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras

Builder = Callable[..., keras.Model]


class ZooError(ValueError):
    """A network was asked for wrongly; the message says what was expected."""


@dataclass(frozen=True)
class Paper:
    """Where a network comes from and what is reported of it."""

    citation: str
    section: str
    parameters: int
    """Trainable parameters at the paper's shape."""
    test_accuracy: float | None = None
    """Percent."""


@dataclass(frozen=True)
class ModelSpec:
    """One network of the zoo; cards, tables and tests are made from it."""

    name: str
    builder: Builder
    paper: Paper
    input_shape: tuple[int, ...]
    """The paper's, without the batch: (height, width, channels) of an image, (samples, 1) of a signal."""
    classes: int
    layer_parameters: Mapping[str, int]
    """Trainable parameters of every layer that has any, by the layer's name, at the paper's shape."""
    divergences: tuple[str, ...] = ()
    """Each difference from the paper, as a sentence."""
    input: Literal["image", "signal"] = "image"

    @property
    def arguments(self) -> dict[str, Any]:
        """The network's own arguments and their defaults: what `create_model` takes besides the common ones."""
        given = inspect.signature(self.builder).parameters.values()
        return {p.name: p.default for p in given if p.name not in ("name", "form", "input_shape", "classes")}


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
        raise ZooError(
            f"Unknown network '{name}'; {f'did you mean {near[0]}' if near else f'expected {list(_specs)}'}?"
        )
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
    raw values and returns float32 [batch, classes], larger is likelier. Raises ZooError for what it does not know.
    """
    spec = get_spec(name)
    unknown = [argument for argument in arguments if argument not in spec.arguments]
    if unknown or form not in ("training", "serving"):
        wrong = f"argument '{unknown[0]}'; expected {sorted(spec.arguments)}" if unknown else f"form '{form}'"
        raise ZooError(f"{name} has no {wrong}.")
    if "form" in inspect.signature(spec.builder).parameters:
        arguments["form"] = form
    shape = tuple(input_shape or spec.input_shape)
    return spec.builder(name=name, input_shape=shape, classes=classes or spec.classes, **arguments)
