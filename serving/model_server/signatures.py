"""A loaded model behind its signatures: what a request sends is checked against them, then run."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import grpc

from serving.model_server.errors import ServerError, invalid_argument
from serving.tensors import Array, TensorError, array_dtype_name, array_from_proto, dtype_name

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD = (
    f"tensorflow/serving/{verb}" for verb in ("predict", "classify", "regress")
)
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

    def __init__(
        self,
        session: GraphSession,
        *,
        check_method_names: bool = False,
        count_run: Callable[[str, float], None] = lambda api, seconds: None,
        count_examples: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`check_method_names` refuses signatures that were made for another API than the one that is asked.

        `count_run` is told of each run of the graph: for which API, and seconds; `count_examples` of the tf.Examples of
        a request.
        """
        self._session = session
        self._count_run = count_run
        self.count_examples = count_examples
        self.check_method_names = check_method_names
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
        if self.check_method_names:
            _check_method_name(signature)
        feeds = _feeds(signature, inputs)
        outputs = {alias: signature.outputs[alias].name for alias in _output_aliases(signature, output_filter)}
        return self.run("Predict", feeds, outputs, timeout_ms)

    def run(
        self, api: str, feeds: Mapping[str, Array], outputs: Mapping[str, str], timeout_ms: int
    ) -> dict[str, Array]:
        """Runs the graph for one of the APIs: arrays by tensor name in, arrays by alias out."""
        fetches = list(dict.fromkeys(outputs.values()))
        started = time.perf_counter()
        values = dict(zip(fetches, self._session.run(feeds, fetches, timeout_ms), strict=True))
        self._count_run(api, time.perf_counter() - started)
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


def _check_method_name(signature: Any) -> None:
    methods = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)
    if signature.method_name not in methods:
        raise ServerError(
            grpc.StatusCode.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(methods)}}}. "
            f"Was: {signature.method_name}",
        )


def _feeds(signature: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    expected, sent = set(signature.inputs), set(inputs)
    if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_names(sent)}) != len({_names(expected)}). Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent)}."
        )
    feeds: dict[str, Array] = {}
    for alias in sorted(expected):
        name = signature.inputs[alias].name
        if alias not in sent and alias not in signature.defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {_names(sent)}, or default input alias set: "
                f"{','.join(sorted(signature.defaults))}"
            )
        array = inputs[alias] if alias in sent else _received(signature.defaults[alias], alias)
        _check_dtype(alias, array, signature.inputs[alias].dtype % _REFERENCE_TYPES, len(feeds))
        feeds[name] = array
    if not sent <= expected:
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {','.join(sorted(sent & expected))}, "
            f"request input: {','.join(sorted(sent))}"
        )
    return feeds


def _check_dtype(alias: str, array: Array, expected: int, position: int) -> None:
    if array_dtype_name(array) != dtype_name(expected):
        raise invalid_argument(
            f"Expects arg[{position}] to be {dtype_name(expected)} but {array_dtype_name(array)} is provided "
            f"(input {alias})"
        )


def _output_aliases(signature: Any, output_filter: Collection[str]) -> list[str]:
    seen = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_names(signature.outputs)}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return sorted(output_filter or signature.outputs)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
