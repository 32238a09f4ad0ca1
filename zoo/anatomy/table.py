"""A network as a table: a row for each layer, merged to the stages of its paper."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from zoo.anatomy.cost import cost
from zoo.anatomy.receptive_field import Field, Span, field
from zoo.spec import ZooError


@dataclass(frozen=True)
class LayerAnatomy:
    """One layer, or one stage of several; `zoo.anatomy.cost` says what is counted."""

    name: str
    kind: str
    """The layer's class."""
    output_shape: tuple[int, ...]
    """Without the batch."""
    parameters: int
    """Trainable."""
    fixed_parameters: int
    """Weights that training leaves alone."""
    connections: int
    multiplications: int
    additions: int
    receptive_field: tuple[int, ...]
    """Pixels, or samples, of the input along each of its axes; `zoo.anatomy.receptive_field` says how."""

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return self.multiplications + self.additions


@dataclass(frozen=True)
class Totals:
    """The sums of a table's counts."""

    parameters: int
    fixed_parameters: int
    connections: int
    multiplications: int
    additions: int

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return self.multiplications + self.additions


def anatomy(model: keras.Model) -> list[LayerAnatomy]:
    """A row for each layer of a network with one input, in the order of computation; the input has none.

    Raises ZooError for a model that is no graph of layers on one input of a fixed shape, calls a layer twice, or has a
    layer of an unknown kind.
    """
    if not isinstance(model, keras.Model) or len(model.inputs or ()) != 1:
        raise ZooError(f"{getattr(model, 'name', model)!r} is no network with one input; the anatomy reads no other.")
    seen: dict[int, Field] = {}  # by the identity of a layer's symbolic output, which its users' inputs are
    rows = []
    for layer in keras.Model(model.inputs, model.outputs).operations:
        output = _shape(layer, layer.output)
        if isinstance(layer, keras.layers.InputLayer):
            seen[id(layer.output)] = tuple(Span.of_input(side) for side in output[:-1])
            continue
        inputs = keras.tree.flatten(layer.input)
        if any(id(tensor) not in seen for tensor in inputs):
            raise ZooError(f"'{layer.name}' follows a layer that is called twice; the anatomy reads one call of each.")
        shapes = tuple(_shape(layer, tensor) for tensor in inputs)
        counted = cost(layer, shapes, output)
        seen[id(layer.output)] = view = field(layer, tuple(seen[id(tensor)] for tensor in inputs), output)
        rows.append(
            LayerAnatomy(
                name=layer.name,
                kind=type(layer).__name__,
                output_shape=output,
                parameters=_size(getattr(layer, "trainable_weights", ())),
                fixed_parameters=_size(getattr(layer, "non_trainable_weights", ())),
                connections=counted.connections,
                multiplications=counted.multiplications,
                additions=counted.additions,
                receptive_field=tuple(span.longest for span in view),
            )
        )
    return rows


def group(rows: Sequence[LayerAnatomy], stages: Iterable[str]) -> list[LayerAnatomy]:
    """The table with the layers of each stage merged into one row, where the stage's first layer stood.

    A stage is the layer of that name and all whose names go on with an underscore, `inception_3a_1x1` for
    `inception_3a`; of two stages that fit, the longer name takes the layer. Counts are added up; kind, output shape and
    receptive field are those of the layer that has the stage's name, or of its last. Rows of no stage stay as they are.
    Raises ZooError for a stage without layers.
    """
    members: dict[str, list[LayerAnatomy]] = {stage: [] for stage in stages}
    places: list[str | LayerAnatomy] = []
    for row in rows:
        fitting = [stage for stage in members if row.name == stage or row.name.startswith(f"{stage}_")]
        if not fitting:
            places.append(row)
            continue
        stage = max(fitting, key=len)
        if not members[stage]:
            places.append(stage)
        members[stage].append(row)
    for stage, merged in members.items():
        if not merged:
            raise ZooError(f"No layer belongs to the stage '{stage}'; the layers are {[row.name for row in rows]}.")
    return [_merge(place, members[place]) if isinstance(place, str) else place for place in places]


def totals(rows: Iterable[LayerAnatomy]) -> Totals:
    """The sums of the rows' counts."""
    rows = list(rows)
    return Totals(
        parameters=sum(row.parameters for row in rows),
        fixed_parameters=sum(row.fixed_parameters for row in rows),
        connections=sum(row.connections for row in rows),
        multiplications=sum(row.multiplications for row in rows),
        additions=sum(row.additions for row in rows),
    )


def _merge(stage: str, rows: list[LayerAnatomy]) -> LayerAnatomy:
    last = next((row for row in rows if row.name == stage), rows[-1])
    return LayerAnatomy(
        name=stage,
        kind=last.kind,
        output_shape=last.output_shape,
        receptive_field=last.receptive_field,
        **vars(totals(rows)),
    )


def _shape(layer: Any, tensor: Any) -> tuple[int, ...]:
    """A symbolic tensor's shape without the batch."""
    shape = tuple(getattr(tensor, "shape", (None, None)))[1:]
    if None in shape:
        raise ZooError(f"'{layer.name}' has no fixed shape, {shape}; build the network for an input of a fixed shape.")
    return shape


def _size(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
