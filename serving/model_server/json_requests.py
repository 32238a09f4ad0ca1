"""The tensors of a REST Predict request: from JSON to arrays, by TensorFlow Serving's rules."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import grpc
import numpy as np

from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.json_documents import (
    decode_base64,
    encode_text,
    format_error,
    is_base64,
    is_whole,
    lossy_error,
    show,
    type_name,
)
from serving.protos import types_pb2
from serving.tensors import Array, dtype_name, numpy_dtype, shape_text

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
# NumPy's, which are less than TensorFlow's 254.
_MOST_DIMENSIONS = 64


def parse_inputs(document: Mapping[str, Any], name: str, signature: Any) -> tuple[dict[str, Array], bool]:
    """The inputs by alias, and whether they came in the row form `instances` (else in the column form `inputs`).

    `name` is the signature's as the request has it. Raises ServerError INVALID_ARGUMENT for values that are not what
    the SignatureDef's dtypes ask for.
    """
    dtypes = {alias: info.dtype for alias, info in signature.inputs.items()}
    if not dtypes:
        raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    if ("instances" in document) == ("inputs" in document):
        if "inputs" not in document:
            raise invalid_argument("Missing 'inputs' or 'instances' key")
        raise format_error(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "inputs" in document:
        return _parse_columns(document["inputs"], dtypes), False
    instances = document["instances"]
    if not isinstance(instances, list):
        raise format_error(document, "Excepting 'instances' to be an list/array")  # as TensorFlow Serving spells it
    if not instances:
        raise format_error(document, "No values in 'instances' array")
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
        for key in element.keys() - dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {position} key: {key} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"JSON object: does not have named input: {key}"
            )
        if element.keys() != dtypes.keys():
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. JSON object: {show(element)} "
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
                first = array if first is None else first
                if array.size != first.size:
                    raise invalid_argument(f"Expecting tensor size: {first.size} but got: {array.size}")
                if array.shape != first.shape:
                    raise invalid_argument(f"Expecting shape {shape_text(first)} but got: {shape_text(array)}")
            except ServerError as cause:
                raise invalid_argument(f"{place}{cause.code.name}: {cause.message}") from None
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
        grpc.StatusCode.UNIMPLEMENTED, f"Conversion of JSON Value: {show(value)} to type: {dtype_name(dtype)}"
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
                    f"JSON Value: {show(item)} found at incorrect level: {depth + 1} in the JSON DOM. "
                    f"Expected at level: {depth + _depth(level[0])}"
                )
        if set(map(len, level)) != {size}:
            odd = next(len(item) for item in level if len(item) != size)
            raise invalid_argument(
                f"Encountered list at unexpected size: {odd} at level: {depth} expected size: {size}"
            )
        if depth == _MOST_DIMENSIONS:
            raise invalid_argument(f"Encountered list at unexpected level: {depth} expected < {_MOST_DIMENSIONS}")
        shape.append(size)
        level = list(chain.from_iterable(level))
    if list in set(map(type, level)):
        raise invalid_argument(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return level, tuple(shape)


def _depth(value: Any) -> int:
    """How deep a list's first element is nested."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _check_types(leaves: Iterable[Any], allowed: set[type], dtype: int) -> None:
    if not set(map(type, leaves)) <= allowed:
        raise _type_error(next(leaf for leaf in leaves if type(leaf) not in allowed), dtype)


def _floats(leaves: Sequence[Any], dtype: int) -> Array:
    _check_types(leaves, {int, float}, dtype)
    target = numpy_dtype(dtype)
    exact = 2 ** (np.finfo(target).nmant + 1) - 1
    if int in set(map(type, leaves)):
        for leaf in leaves:
            if abs(leaf) > exact and is_whole(leaf):
                raise lossy_error(leaf, dtype_name(dtype))
    try:
        wide = np.array(leaves, dtype=np.float64)
    except OverflowError:
        raise lossy_error(max(leaves, key=abs), dtype_name(dtype)) from None
    with np.errstate(over="ignore"):
        array = wide.astype(target)
    if not np.array_equal(np.isinf(array), np.isinf(wide)):
        raise lossy_error(leaves[int(np.argmax(np.isinf(array) & ~np.isinf(wide)))], dtype_name(dtype))
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
        return encode_text(leaf)
    if not isinstance(leaf, dict):
        raise _type_error(leaf, types_pb2.DT_STRING)
    if not is_base64(leaf):
        raise format_error(leaf, "not formatted correctly for base64 data")
    return decode_base64(leaf)


def _is_named(value: Any) -> bool:
    """Whether it is an object of named tensors, as against one encoded string."""
    return isinstance(value, dict) and not is_base64(value)


def _type_error(value: Any, dtype: int) -> ServerError:
    return invalid_argument(
        f"JSON Value: {show(value)} Type: {type_name(value)} is not of expected type: {dtype_name(dtype)}"
    )
