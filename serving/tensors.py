"""TensorProto to numpy array and back, for every dtype that a request can carry."""

import math
import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from serving.errors import ServingError
from serving.protos import tensor_pb2, types_pb2

Array = npt.NDArray[Any]


class TensorError(ServingError):
    """A tensor that cannot be read: its dtype is unknown, or its values do not fit its shape."""


# dtype -> numpy dtype, typed field, numpy dtype of the field's elements (16-bit floats travel as their bits).
_DTYPES: dict[int, tuple[np.dtype[Any], str, Any]] = {
    types_pb2.DT_FLOAT: (np.dtype(np.float32), "float_val", np.float32),
    types_pb2.DT_DOUBLE: (np.dtype(np.float64), "double_val", np.float64),
    types_pb2.DT_HALF: (np.dtype(np.float16), "half_val", np.uint16),
    types_pb2.DT_BFLOAT16: (np.dtype(ml_dtypes.bfloat16), "half_val", np.uint16),
    types_pb2.DT_INT8: (np.dtype(np.int8), "int_val", np.int8),
    types_pb2.DT_INT16: (np.dtype(np.int16), "int_val", np.int16),
    types_pb2.DT_INT32: (np.dtype(np.int32), "int_val", np.int32),
    types_pb2.DT_INT64: (np.dtype(np.int64), "int64_val", np.int64),
    types_pb2.DT_UINT8: (np.dtype(np.uint8), "int_val", np.uint8),
    types_pb2.DT_UINT16: (np.dtype(np.uint16), "int_val", np.uint16),
    types_pb2.DT_UINT32: (np.dtype(np.uint32), "uint32_val", np.uint32),
    types_pb2.DT_UINT64: (np.dtype(np.uint64), "uint64_val", np.uint64),
    types_pb2.DT_BOOL: (np.dtype(np.bool_), "bool_val", np.bool_),
    types_pb2.DT_STRING: (np.dtype(object), "string_val", np.object_),
    types_pb2.DT_COMPLEX64: (np.dtype(np.complex64), "scomplex_val", np.float32),
    types_pb2.DT_COMPLEX128: (np.dtype(np.complex128), "dcomplex_val", np.float64),
}
_STRING = np.dtype(object)
# Bytes that values which were not sent may take: else a request of a few bytes could ask for all memory there is.
_LARGEST_FILL = 2**26
_AS_PACKED = (np.float32, np.float64, np.bool_)
_FEW, _PIECE = 64, 2**16  # values
_STRING_BYTES = 32  # about what an empty string takes on its way into the graph
_FROM_NUMPY = {dtype: enum for enum, (dtype, _, _) in _DTYPES.items()}


def dtype_name(dtype: int) -> str:
    """TensorFlow's short name of a DataType, `float` for DT_FLOAT."""
    return str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()


def numpy_dtype(dtype: int) -> np.dtype[Any]:
    """The numpy dtype of a DataType (object, holding bytes, for DT_STRING). Raises TensorError if there is none."""
    if dtype not in _DTYPES:
        raise TensorError(f"Tensors of type {dtype_name(dtype)} cannot be sent.")
    return _DTYPES[dtype][0]


def array_dtype(array: Array) -> int:
    """The DataType of an array (DT_INVALID for what no request can carry); an array of objects holds strings."""
    return _FROM_NUMPY.get(array.dtype, types_pb2.DT_INVALID)


def array_dtype_name(array: Array) -> str:
    """TensorFlow's short name of an array's dtype."""
    return dtype_name(array_dtype(array)) if array.dtype in _FROM_NUMPY else str(array.dtype)


def shape_text(array: Array) -> str:
    """An array's shape as TensorFlow's messages write it: `[2,3]`."""
    return "[" + ",".join(map(str, array.shape)) + "]"


def array_from_proto(proto: Any) -> Array:
    """The array that a TensorProto holds, in `tensor_content` or in typed fields.

    Fewer values than the shape has elements are filled up with the last one (or zeros), as TensorFlow does, to 64 MiB
    at most. Raises TensorError where values and shape do not fit, or the dtype is unknown.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.dtype not in _DTYPES or proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise TensorError(f"A tensor of dtype {proto.dtype} and shape {list(shape)} cannot be read.")
    # An empty tensor takes no memory, but what is reduced over its empty side may.
    if 0 in shape and _size(_DTYPES[proto.dtype][0], math.prod(size for size in shape if size)) > _LARGEST_FILL:
        raise TensorError(f"A tensor of shape {list(shape)} is too large to be empty.")
    try:
        return _values(proto, math.prod(shape)).reshape(shape)
    except (ValueError, OverflowError, MemoryError):
        raise TensorError(f"The values of a tensor do not fit its shape {list(shape)}.") from None


def _size(dtype: np.dtype[Any], count: int) -> int:
    """Bytes that so many values take."""
    return count * (_STRING_BYTES if dtype == _STRING else dtype.itemsize)


def _values(proto: Any, count: int) -> Array:
    dtype, field, element = _DTYPES[proto.dtype]
    if proto.tensor_content and proto.dtype == types_pb2.DT_BOOL:
        return np.frombuffer(proto.tensor_content, dtype=np.uint8) != 0
    if proto.tensor_content and dtype != _STRING:
        return np.frombuffer(proto.tensor_content, dtype=dtype)
    raw = getattr(proto, field)
    # int_val is wider than the small integers; narrowing it wraps around, as in TensorFlow.
    values = np.array(raw, np.int64).astype(element) if field == "int_val" else np.array(raw, dtype=element)
    if element is not np.object_:
        values = values.view(dtype)
    if len(values) == count:
        return values
    if len(values) > count:
        raise ValueError(f"{len(values)} values for {count} elements")
    if _size(dtype, count) > _LARGEST_FILL:
        raise ValueError(f"{len(values)} values for {count} elements are too few to be filled up")
    if len(values) == 0:
        return np.full(count, b"" if dtype == _STRING else 0, dtype=dtype)
    return np.concatenate([values, np.full(count - len(values), values[-1], dtype=dtype)])


def array_to_proto(array: Array, *, as_content: bool) -> Any:
    """A TensorProto of the array: typed fields (`float_val`, ...), or raw bytes in `tensor_content`.

    Strings always travel in `string_val`. Raises TensorError for a dtype that cannot travel.
    """
    enum = array_dtype(array)
    if enum not in _DTYPES:
        raise TensorError(f"Tensors of type {array_dtype_name(array)} cannot be sent.")
    dtype, field, element = _DTYPES[enum]
    proto = tensor_pb2.TensorProto(dtype=enum)
    # A shape is always set, so that a scalar's differs from a missing one.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = np.ascontiguousarray(array).reshape(-1)
    if as_content and dtype != _STRING:
        proto.tensor_content = flat.tobytes()
    else:
        _fill(proto, field, flat if element is np.object_ else flat.view(element))
    return proto


def _fill(proto: Any, field: str, values: Array) -> None:
    if values.dtype in _AS_PACKED and values.size > _FEW and sys.byteorder == "little":
        # Packed on the wire, such values are their bytes in a row: no Python object is made of any of them.
        tag = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number << 3 | 2
        proto.MergeFromString(bytes([tag]) + _varint(values.nbytes) + values.tobytes())
        return
    # In pieces, since objects take ten times the memory of values.
    repeated = getattr(proto, field)
    for start in range(0, len(values), _PIECE):
        repeated.extend(values[start : start + _PIECE].tolist())


def _varint(number: int) -> bytes:
    """A number as protobuf's wire format writes it."""
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
