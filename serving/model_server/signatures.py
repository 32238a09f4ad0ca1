"""A loaded model behind its signatures: what a request sends is checked against them, then run."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

import grpc

from serving.model_server.errors import ServerError, invalid_argument
from serving.tensors import Array, TensorError, array_dtype_name, array_from_proto, dtype_name

DEFAULT_SIGNATURE = "serving_default"
_REFERENCE_TYPES = 100  # TF1's variables have dtypes DT_x_REF, which is DT_x + 100.


class GraphSession(Protocol):
    """What a servable needs of a loaded graph."""

    signatures: Mapping[str, Any]

    def run(self, feeds: Mapping[str, Array], fetches: list[str], timeout_ms: int = 0) -> list[Array]:
        """Runs tensor names to arrays, returning the fetched tensors' arrays."""

    def close(self) -> None:
        """Frees the graph."""


class Servable:
    """A model version that answers predictions."""

    def __init__(self, session: GraphSession) -> None:
        self._session = session
        self.signatures = session.signatures

    def signature(self, name: str) -> Any:
        """The SignatureDef of this name (empty for the default); raises ServerError FAILED_PRECONDITION without."""
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServerError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Array],
        output_filter: Collection[str] = (),
        timeout_ms: int = 0,
    ) -> dict[str, Array]:
        """Runs a signature on inputs by alias; returns outputs by alias, all of them unless filtered.

        Raises ServerError INVALID_ARGUMENT for inputs, dtypes or outputs that the signature does not have, and
        whatever code TensorFlow gives to a graph that fails. Shapes are left to the graph.
        """
        signature = self.signature(signature_name)
        feeds = _feeds(signature, inputs)
        outputs = {alias: signature.outputs[alias].name for alias in _output_aliases(signature, output_filter)}
        fetches = list(dict.fromkeys(outputs.values()))
        values = dict(zip(fetches, self._session.run(feeds, fetches, timeout_ms), strict=True))
        return {alias: values[name] for alias, name in outputs.items()}

    def close(self) -> None:
        """Frees the model."""
        self._session.close()


def received_arrays(protos: Mapping[str, Any]) -> dict[str, Array]:
    """A request's tensors as arrays, by alias; raises ServerError `tensor parsing error: ALIAS`."""
    return {alias: _received(proto, alias) for alias, proto in protos.items()}


def _received(proto: Any, alias: str) -> Array:
    try:
        return array_from_proto(proto)
    except TensorError:
        raise invalid_argument(f"tensor parsing error: {alias}") from None


def _feeds(signature: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    expected, sent = set(signature.inputs), set(inputs)
    if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_names(sent)}) != len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent)}."
        )
    for alias in sorted(sent - expected):
        raise invalid_argument(
            f"input tensor alias not found in signature: {alias}. Inputs expected to be in the set {_names(expected)}."
        )
    feeds: dict[str, Array] = {}
    for alias in sorted(expected):
        if alias not in sent and alias not in signature.defaults:
            raise invalid_argument(f"Missing but required: {_names({alias})}.")
        array = inputs[alias] if alias in sent else _received(signature.defaults[alias], alias)
        _check_dtype(alias, array, signature.inputs[alias].dtype % _REFERENCE_TYPES, len(feeds))
        feeds[signature.inputs[alias].name] = array
    return feeds


def _check_dtype(alias: str, array: Array, expected: int, position: int) -> None:
    if array_dtype_name(array) != dtype_name(expected):
        raise invalid_argument(
            f"Expects arg[{position}] to be {dtype_name(expected)} but {array_dtype_name(array)} is provided "
            f"(input {alias})"
        )


def _output_aliases(signature: Any, output_filter: Collection[str]) -> list[str]:
    if len(set(output_filter)) < len(output_filter):
        duplicate = next(alias for alias in output_filter if list(output_filter).count(alias) > 1)
        raise invalid_argument(f"duplicate output tensor alias: {duplicate}")
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_names(signature.outputs)}."
            )
    # Sorted, so that the order of a filter does not make another callable.
    return sorted(output_filter or signature.outputs)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
