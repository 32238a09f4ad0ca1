"""The tf.Examples of a REST Classify or Regress request: from JSON to the message that gRPC carries."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.model_server.errors import invalid_argument
from serving.model_server.json_documents import (
    decode_base64,
    encode_text,
    format_error,
    is_base64,
    is_whole,
    lossy_error,
    type_name,
)
from serving.protos import example_pb2, input_pb2

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_LARGEST_INT64 = 2**63 - 1
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


def parse_examples(document: Mapping[str, Any]) -> Any:
    """The `Input` in the keys `examples` and, where it is there, `context`; raises ServerError INVALID_ARGUMENT."""
    received = input_pb2.Input()
    listed = received.example_list
    if "context" in document:
        listed = received.example_list_with_context
        listed.context.CopyFrom(_example(document["context"]))
    if "examples" not in document:
        raise format_error(document, "When method is classify, key 'examples' is expected and was not found")
    if not isinstance(document["examples"], list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise format_error(document, "'examples' value is an empty array")
    listed.examples.extend(_example(value) for value in document["examples"])
    return received


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        key = encode_text(name).decode()
        feature = example.features.feature[key]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, key, element)
    return example


def _add(feature: Any, name: str, value: Any) -> None:
    """Adds one value; the first one decides of which kind the feature is."""
    kind, converted = _converted(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}")
    if kind == "float_list" and np.isfinite(converted) and abs(converted) > _LARGEST_FLOAT:
        raise lossy_error(value, "float")
    if kind == "int64_list" and converted > _LARGEST_INT64:
        raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    getattr(feature, kind).value.append(converted)


def _converted(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, bool) or is_whole(value):
        return "int64_list", int(value)
    if isinstance(value, int | float):
        return "float_list", _float(value)
    if isinstance(value, str):
        return "bytes_list", encode_text(value)
    if is_base64(value):
        return "bytes_list", decode_base64(value)
    raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise lossy_error(value, "float") from None
