"""REST request bodies: from JSON to arrays, by TensorFlow Serving's rules."""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import grpc
import numpy as np

from serving.model_server.errors import ServerError, invalid_argument
from serving.protos import types_pb2
from serving.tensors import Array, dtype_name, numpy_dtype

_FLOATS = {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE}
_INTEGERS = {
    types_pb2.DT_INT8,
    types_pb2.DT_INT16,
    types_pb2.DT_INT32,
    types_pb2.DT_INT64,
    types_pb2.DT_UINT8,
    types_pb2.DT_UINT16,
    types_pb2.DT_UINT32,
    types_pb2.DT_UINT64,
}
_JSON_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body; NaN, Infinity and -Infinity are read. Raises ServerError for all else."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise _format_error(document, "Is not object")
    return document


def parse_signature_name(document: Mapping[str, Any]) -> str:
    """The request's `signature_name`, empty where it has none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def parse_inputs(document: Mapping[str, Any], signature: Any) -> tuple[dict[str, Array], bool]:
    """The inputs by alias, and whether they came in the row form `instances` (else in the column form `inputs`).

    Raises ServerError INVALID_ARGUMENT for values that are not what the SignatureDef's dtypes ask for.
    """
    dtypes = {alias: info.dtype for alias, info in signature.inputs.items()}
    if ("instances" in document) == ("inputs" in document):
        if "inputs" not in document:
            raise invalid_argument("Missing 'inputs' or 'instances' key")
        raise _format_error(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return _parse_columns(document["inputs"], dtypes), False
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _format_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise _format_error(document, "No values in 'instances' array")
    return _parse_rows(instances, dtypes), True


def _parse_columns(value: Any, dtypes: Mapping[str, int]) -> dict[str, Array]:
    if not _is_named(value):
        if len(dtypes) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        return {alias: _to_array(value, dtype) for alias, dtype in dtypes.items()}
    for alias in dtypes:
        if alias not in value:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: _to_array(value[alias], dtype) for alias, dtype in dtypes.items()}


def _parse_rows(instances: list[Any], dtypes: Mapping[str, int]) -> dict[str, Array]:
    if not _is_named(instances[0]):
        if len(dtypes) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        for position, element in enumerate(instances):
            if _is_named(element):
                raise invalid_argument(f"Expecting value/list but got object at item {position} of input list")
        return {alias: _stack(instances, dtype, "") for alias, dtype in dtypes.items()}
    for position, element in enumerate(instances):
        if not _is_named(element):
            raise invalid_argument(f"Expecting object but got list at item {position} of input list")
        if element.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. JSON object: {_show(element)} "
                f"keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {
        alias: _stack([element[alias] for element in instances], dtype, f" key: {alias}")
        for alias, dtype in dtypes.items()
    }


def _stack(elements: list[Any], dtype: int, key: str) -> Array:
    """Converts all elements at once; only if that fails, one by one to find out which is at fault."""
    try:
        return _to_array(elements, dtype)
    except ServerError as error:
        first = None
        for position, element in enumerate(elements):
            place = f"Failed to process element: {position}{key} of 'instances' list. Error: "
            try:
                array = _to_array(element, dtype)
            except ServerError as cause:
                raise ServerError(cause.code, f"{place}{cause.message}") from None
            first = array if first is None else first
            if array.shape != first.shape:
                raise invalid_argument(f"{place}Expecting shape {_shape(first)} but got: {_shape(array)}") from None
        raise error


def _to_array(value: Any, dtype: int) -> Array:
    leaves, shape = _flatten(value)
    if dtype in _FLOATS:
        return _floats(leaves, dtype).reshape(shape)
    if dtype in _INTEGERS:
        return _integers(leaves, dtype).reshape(shape)
    if dtype == types_pb2.DT_BOOL:
        _check_types(leaves, {bool}, dtype)
        return np.array(leaves, dtype=np.bool_).reshape(shape)
    if dtype == types_pb2.DT_STRING:
        strings = np.empty(len(leaves), dtype=object)
        strings[:] = [_to_bytes(leaf) for leaf in leaves]
        return strings.reshape(shape)
    raise ServerError(
        grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {_show(value)} to type: {dtype_name(dtype)}"
    )


def _flatten(value: Any) -> tuple[list[Any], tuple[int, ...]]:
    """The leaves of nested lists and their shape; every list at a level must have the same length."""
    level: list[Any] = [value]
    shape: list[int] = []
    while level and isinstance(level[0], list):
        depth, size = len(shape), len(level[0])
        for item in level if set(map(type, level)) != {list} else ():
            if not isinstance(item, list):
                raise invalid_argument(
                    f"JSON Value: {_show(item)} found at incorrect level: {depth + 1} in the JSON DOM. "
                    f"Expected at level: {depth + 2}"
                )
        if set(map(len, level)) != {size}:
            odd = next(len(item) for item in level if len(item) != size)
            raise invalid_argument(
                f"Encountered list at unexpected size: {odd} at level: {depth} expected size: {size}"
            )
        shape.append(size)
        level = list(chain.from_iterable(level))
    if list in set(map(type, level)):
        raise invalid_argument(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return level, tuple(shape)


def _check_types(leaves: Iterable[Any], allowed: set[type], dtype: int) -> None:
    if not set(map(type, leaves)) <= allowed:
        raise _type_error(next(leaf for leaf in leaves if type(leaf) not in allowed), dtype)


def _floats(leaves: Sequence[Any], dtype: int) -> Array:
    _check_types(leaves, {int, float}, dtype)
    target = numpy_dtype(dtype)
    exact = 2 ** (np.finfo(target).nmant + 1) - 1
    if int in set(map(type, leaves)):
        for leaf in leaves:
            if type(leaf) is int and abs(leaf) > exact:
                raise _lossy_error(leaf, dtype)
    wide = np.array(leaves, dtype=np.float64)
    with np.errstate(over="ignore"):
        array = wide.astype(target)
    if not np.array_equal(np.isinf(array), np.isinf(wide)):
        raise _lossy_error(leaves[int(np.argmax(np.isinf(array) & ~np.isinf(wide)))], dtype)
    return array


def _integers(leaves: Sequence[Any], dtype: int) -> Array:
    _check_types(leaves, {int}, dtype)
    try:
        return np.array(leaves, dtype=numpy_dtype(dtype))
    except OverflowError:
        limits = np.iinfo(numpy_dtype(dtype))
        raise _type_error(next(leaf for leaf in leaves if not limits.min <= leaf <= limits.max), dtype) from None


def _to_bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        try:
            return leaf.encode()
        except UnicodeEncodeError:
            raise invalid_argument(f"JSON Value: {_show(leaf)} holds a lone surrogate, which is not text") from None
    if not isinstance(leaf, dict):
        raise _type_error(leaf, types_pb2.DT_STRING)
    if not _is_base64(leaf):
        raise invalid_argument(f"JSON Value: {_show(leaf)} not formatted correctly for base64 data")
    # White space and missing padding are forgiven, another alphabet is not.
    text = "".join(leaf["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _is_named(value: Any) -> bool:
    """Whether it is an object of named tensors, as against one encoded string."""
    return isinstance(value, dict) and not _is_base64(value)


def _type_error(value: Any, dtype: int) -> ServerError:
    kind = str(value) if isinstance(value, bool) else _JSON_TYPES[type(value)]
    return invalid_argument(f"JSON Value: {_show(value)} Type: {kind} is not of expected type: {dtype_name(dtype)}")


def _lossy_error(value: Any, dtype: int) -> ServerError:
    return invalid_argument(
        f"Cannot convert JSON value: {_show(value)} to {dtype_name(dtype)} without loss of precision."
    )


def _format_error(value: Any, problem: str) -> ServerError:
    return invalid_argument(f"JSON Value: {_show(value)} {problem}")


def _show(value: Any) -> str:
    return json.dumps(value)


def _shape(array: Array) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"
