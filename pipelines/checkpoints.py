"""The state of a run between two epochs, on disk: enough to go on as if nothing had happened."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipelines.errors import PipelineError

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class State:
    """A training run after a whole number of epochs."""

    history: dict[str, list[float]]
    """Of each metric one value an epoch."""
    variables: Arrays
    """The network's, the states of its random generators included: Keras's own files leave those out, and a run that
    goes on without them drops other units than it would have."""
    optimizer: Arrays
    best: Arrays | None
    """The network's variables after its best epoch, where the recipe keeps those."""


def take_state(model: keras.Model, history: dict[str, list[float]], best: Arrays | None) -> State:
    """The state of a compiled model now."""
    return State(history, values_of(model.variables), values_of(model.optimizer.variables), best)


def values_of(variables: Sequence[Any]) -> Arrays:
    """The values of Keras variables, copied."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[Any], values: Arrays, source: str) -> None:
    """Set Keras variables. Raises PipelineError where the values are another network's; `source` names them."""
    if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        raise PipelineError(
            f"{source} is of another network than the recipe's; delete it, or train with the version that wrote it."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def write_state(state: State, path: Path) -> None:
    """Write a state, whole or not at all. Raises PipelineError."""
    groups = {"variables": state.variables, "optimizer": state.optimizer, "best": state.best or []}
    arrays: dict[str, Any] = {f"{group}/{i}": v for group, values in groups.items() for i, v in enumerate(values)}
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("wb") as file:
            np.savez(file, history=np.array(json.dumps(state.history)), **arrays)
        staged.replace(path)
    except OSError as error:
        raise PipelineError(f"The checkpoint {path} cannot be written: {error}.") from error
    finally:
        staged.unlink(missing_ok=True)


def read_state(path: Path) -> State | None:
    """The state in a file; None where there is none yet. Raises PipelineError for a file that is no state."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            groups: dict[str, dict[int, np.ndarray]] = {"variables": {}, "optimizer": {}, "best": {}}
            for name in file.files:
                if name != "history":
                    group, number = name.split("/")
                    groups[group][int(number)] = file[name]
            history = json.loads(str(file["history"]))
    except Exception as error:  # a damaged archive surfaces as whatever of a dozen errors its reader raises
        raise PipelineError(f"The checkpoint {path} cannot be read ({error}); delete it and train anew.") from error
    variables, optimizer, best = ([arrays[i] for i in sorted(arrays)] for arrays in groups.values())
    return State(history, variables, optimizer, best or None)
