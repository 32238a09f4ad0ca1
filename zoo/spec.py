"""What is known of a network: one frozen dataclass, of which cards, tables and tests are made."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import keras

Builder = Callable[..., keras.Model]
COMMON_ARGUMENTS = ("name", "form", "input_shape", "classes")


class ZooError(ValueError):
    """A network was asked for wrongly; the message says what was expected."""


@dataclass(frozen=True)
class Paper:
    """Where a network comes from and what is reported of it."""

    citation: str
    section: str
    parameters: int | None = None
    """Trainable parameters of its serving form at the paper's shape: as printed, or recomputed from the paper's layer
    table where that prints a rounded number. None where the source gives no sizes."""
    training_parameters: int | None = None
    """The same of the training form, where that has auxiliary heads."""
    connections: int | None = None
    test_accuracy: float | None = None
    """Percent."""
    reports: tuple[str, ...] = ()
    """What else the paper reports, each as a sentence."""
    table: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The paper's own layer table, as printed: {"inception_3a": {"parameters": "159K", "operations": "128M"}}; what it
    prints of the whole network stands under "total"."""


@dataclass(frozen=True)
class ModelSpec:
    """One network of the zoo."""

    name: str
    builder: Builder
    paper: Paper
    input_shape: tuple[int, ...]
    """The paper's, without the batch: (height, width, channels) of an image, (samples, 1) of a signal."""
    classes: int
    layer_parameters: Mapping[str, int]
    """Trainable parameters at the paper's shape, by stage. A stage is a layer, or all layers whose names go on with an
    underscore: `inception_3a` counts `inception_3a_1x1`."""
    layer_connections: Mapping[str, int] = field(default_factory=dict)
    """Connections by stage, where the paper gives them."""
    divergences: tuple[str, ...] = ()
    """Each difference from the paper, as a sentence."""
    input: Literal["image", "signal"] = "image"
    small: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `create_model` for a narrow variant of the same structure: what quick tests build."""
    auxiliary_weight: float = 0.0
    """What the loss of each auxiliary head of the training form counts beside the main one's."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The network's own arguments and their defaults: what `create_model` takes besides the common ones."""
        given = inspect.signature(self.builder).parameters.values()
        return {p.name: p.default for p in given if p.name not in COMMON_ARGUMENTS}

    @property
    def has_forms(self) -> bool:
        """Whether the training form differs from the serving form."""
        return "form" in inspect.signature(self.builder).parameters
