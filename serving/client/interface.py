"""What both clients offer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from serving.errors import ServingError
from serving.repository import STABLE

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a signature: TensorFlow's dtype name (`DT_FLOAT`) and its shape, -1 where any size goes."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one way to call a model."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True)
class VersionStatus:
    """A version of a model on the server; `state` is START, LOADING, AVAILABLE, UNLOADING or END."""

    version: int
    state: str
    error: str


@dataclass(frozen=True)
class Answer:
    """The outputs of a signature, by name, and the version that gave them."""

    outputs: Arrays
    version: int


class Client(ABC):
    """A model server at one address. Every call raises ServingError, in one sentence, for what goes wrong."""

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout

    @abstractmethod
    def ask(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = STABLE,
    ) -> Answer:
        """The outputs of a signature for its inputs, and which version gave them.

        Inputs are arrays, or lists of bytes or str for string tensors. A `version` goes before a `label`; with
        neither, the server's newest version answers. String outputs come as str, those named `…_bytes` as bytes.
        """

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = STABLE,
    ) -> Arrays:
        """The outputs alone, by name; arguments as in `ask`."""
        return self.ask(model, inputs, signature=signature, version=version, label=label).outputs

    @abstractmethod
    def metadata(self, model: str, *, version: int | None = None, label: str | None = STABLE) -> dict[str, Signature]:
        """The model's signatures by name."""

    @abstractmethod
    def status(self, model: str) -> list[VersionStatus]:
        """The model's versions, newest first."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def unreachable(self) -> ServingError:
        """The error for a server that does not answer at all."""
        return ServingError(
            f"No model server answers at {self.address}; start one with `zoo serve`, or give another address."
        )

    def too_late(self) -> ServingError:
        """The error for an answer that took longer than the timeout."""
        return ServingError(
            f"{self.address} did not answer within {self.timeout:g} s; allow more time or send fewer images at once."
        )

    def refused(self, model: str, message: str) -> ServingError:
        """The error for a request that the server understood and turned down, with its own words."""
        message = (message.strip().splitlines() or ["no reason given"])[0]  # what follows are places in the graph
        hint = ""
        if "Servable not found" in message or "Unrecognized servable version label" in message:
            hint = (
                " `zoo releases` tells what there is; `zoo publish` makes a version and `zoo promote` the stable one."
            )
        return ServingError(f"{self.address} refused the request for {model}: {message.rstrip('.')}.{hint}")


def as_array(value: Any) -> np.ndarray:
    """An input as an array; strings become an object array of bytes."""
    array = np.asarray(value)
    if array.dtype.kind in "US" or array.dtype == object:
        # From the original, for NumPy's fixed-width bytes lose trailing zeros.
        array = np.asarray(value, dtype=object)
        flat = [item.encode() if isinstance(item, str) else item for item in array.reshape(-1)]
        result = np.empty(len(flat), dtype=object)
        result[:] = flat
        return result.reshape(array.shape)
    return array


def as_text(name: str, array: np.ndarray) -> np.ndarray:
    """A string output as str, unless its name says that it is bytes."""
    if array.dtype != object or name.endswith("_bytes"):
        return array
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in array.reshape(-1)]
    return np.array(texts, dtype=object).reshape(array.shape)
