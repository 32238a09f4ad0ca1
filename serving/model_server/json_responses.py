"""REST response bodies: from arrays to JSON, by TensorFlow Serving's rules."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.model_server.errors import invalid_argument
from serving.tensors import Array, array_dtype_name

# What `%g` writes without a point or an exponent, besides whole numbers.
_UNMARKED = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def format_outputs(outputs: Mapping[str, Array], *, rows: bool) -> bytes:
    """A response body: `predictions`, a list with an element a row, or `outputs`, whole tensors.

    One output stands bare, several become objects. Raises ServerError INVALID_ARGUMENT in the row form for scalars and
    for outputs of different batch sizes, and for dtypes that JSON has no form for.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if not rows:
        columns = {alias: _nest(_leaves(alias, array), array.shape) for alias, array in outputs.items()}
        return _encode('{"outputs": ' + (_object(columns) if len(columns) > 1 else next(iter(columns.values()))) + "}")
    size = _batch_size(outputs)
    lists = {}
    for alias, array in outputs.items():
        leaves = _leaves(alias, array)
        if array.ndim == 1:
            lists[alias] = leaves
            continue
        width = array.size // size if size else 0
        lists[alias] = [_nest(leaves[row * width : (row + 1) * width], array.shape[1:]) for row in range(size)]
    if len(lists) > 1:
        elements = [_object(dict(zip(lists, row, strict=True))) for row in zip(*lists.values(), strict=True)]
    else:
        elements = next(iter(lists.values()))
    return _encode('{"predictions": [' + ", ".join(elements) + "]}")


def format_classifications(result: Any) -> bytes:
    """A response body of a ClassificationResult: for each example its `[label, score]` pairs."""
    rows = [
        "[" + ", ".join(f"[{_text(each.label)}, {_write_float(each.score)}]" for each in row.classes) + "]"
        for row in result.classifications
    ]
    return _encode('{"results": [' + ", ".join(rows) + "]}")


def format_regressions(result: Any) -> bytes:
    """A response body of a RegressionResult: a number for each example."""
    numbers = [_write_float(regression.value) for regression in result.regressions]
    return _encode('{"results": [' + ", ".join(numbers) + "]}")


def _batch_size(outputs: Mapping[str, Array]) -> int:
    size = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        size = len(array) if size is None else size
        if len(array) != size:
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {size}")
    return size or 0


def _encode(text: str) -> bytes:
    # Strings that are not UTF-8 leave as the bytes they are, as from TensorFlow Serving.
    return text.encode("utf-8", "surrogateescape")


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members.items()) + "}"


def _nest(leaves: Sequence[str], shape: Sequence[int]) -> str:
    """Brackets around a flat run of written values."""
    if not shape:
        return leaves[0]
    if len(shape) == 1:
        return "[" + ", ".join(leaves) + "]"
    width = len(leaves) // shape[0] if shape[0] else 0
    parts = (_nest(leaves[part * width : (part + 1) * width], shape[1:]) for part in range(shape[0]))
    return "[" + ", ".join(parts) + "]"


def _leaves(alias: str, array: Array) -> list[str]:
    """Every value of an array in JSON, in row-major order."""
    values = array.reshape(-1)
    if array.dtype in (np.float32, np.float64):
        return _write_floats(values)
    if array.dtype == np.bool_:
        return ["true" if value else "false" for value in values.tolist()]
    if array.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    if array.dtype != object:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {array_dtype_name(array)}")
    if alias.endswith("_bytes"):
        return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in values.tolist()]
    return [_text(value.decode("utf-8", "surrogateescape")) for value in values.tolist()]


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _write_float(number: float) -> str:
    return _write_floats(np.array([number], dtype=np.float32))[0]


def _write_floats(values: Array) -> list[str]:
    """Six digits where they say it all, else as many as the type can need; always recognisable as a float."""
    digits = 9 if values.dtype == np.float32 else 17
    numbers = values.tolist()
    texts = [f"{number:g}" for number in numbers]
    unfaithful = np.array(texts, dtype=np.float64).astype(values.dtype) != values
    for position in np.flatnonzero(unfaithful).tolist():
        texts[position] = f"{numbers[position]:.{digits}g}"
    return [text if "." in text or "e" in text else _UNMARKED.get(text) or f"{text}.0" for text in texts]
