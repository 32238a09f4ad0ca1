"""REST request bodies as JSON documents, with the words in which TensorFlow Serving refuses them.

It reads JSON with RapidJSON, whose error texts these are.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from serving.model_server.errors import ServerError, invalid_argument

_TYPES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number", type(None): "Null"}
# What Python's reader says -> what RapidJSON says.
_SYNTAX = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Extra data": "The document root must not be followed by other values.",
}
_MISSING_COMMA = {
    "{": "Missing a comma or } after an object member.",
    "[": "Missing a comma or ] after an array element.",
}
_LARGE = 2**20
# An exponent that may be too large for a double, which Python's reader makes infinite.
_LARGE_EXPONENT = re.compile(r"[eE]\+?[0-9]{3}")
_LARGEST_UINT64 = 2**64 - 1
_SMALLEST_INT64 = -(2**63)


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body; NaN, Infinity and -Infinity are read. Raises ServerError for all else."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        # Of bytes the reader would guess the encoding.
        text = body.decode("utf-8-sig")
        document = json.loads(text, parse_float=_finite if _LARGE_EXPONENT.search(text) else None)
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: {_syntax_error(error)} at offset: {_offset(error)}") from None
    except UnicodeDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    except ValueError:
        raise invalid_argument("JSON Parse error: Number too big to be stored in double.") from None
    except RecursionError:
        raise invalid_argument("JSON Parse error: The document is nested too deeply.") from None
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    return document


def parse_signature_name(document: Mapping[str, Any]) -> str:
    """The request's `signature_name`, empty where it has none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return name


def is_whole(number: Any) -> bool:
    """Whether a JSON number is an integer to RapidJSON: without fraction and exponent, and of 64 bits at most."""
    return type(number) is int and _SMALLEST_INT64 <= number <= _LARGEST_UINT64


def is_base64(value: Any) -> bool:
    """Whether it is `{"b64": TEXT}`."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def decode_base64(value: Mapping[str, str]) -> bytes:
    """The bytes in `{"b64": TEXT}`; raises ServerError for text that is not base64 in the standard alphabet."""
    # White space and missing padding are forgiven, another alphabet is not.
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_argument("Unable to base64 decode") from None


def encode_text(text: str) -> bytes:
    """A JSON string's bytes; raises ServerError for half a surrogate pair, which no text has."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid_argument(f"JSON Value: {show(text)} holds a lone surrogate, which is not text") from None


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def format_error(value: Any, problem: str) -> ServerError:
    """The refusal of a value that is not of the form it should have."""
    return invalid_argument(f"JSON Value: {show(value)} {problem}")


def lossy_error(value: Any, target: str) -> ServerError:
    """The refusal of a number that a floating-point type cannot hold."""
    return invalid_argument(f"Cannot convert JSON value: {show(value)} to {target} without loss of precision.")


def show(value: Any) -> str:
    """A value in an error message."""
    return json.dumps(value)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError
    return number


def _syntax_error(error: json.JSONDecodeError) -> str:
    if error.msg == "Expecting ',' delimiter":
        # In a large document it is most likely the data, which is not gone through for the sake of a word.
        return _MISSING_COMMA[_innermost_bracket(error.doc[: error.pos]) if error.pos < _LARGE else "["]
    return _SYNTAX.get(error.msg, error.msg)


def _offset(error: json.JSONDecodeError) -> int:
    return len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))


def _innermost_bracket(text: str) -> str:
    """The bracket that is still open at the end of a piece of JSON without errors."""
    open_brackets = []
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            open_brackets.append(character)
        elif character in "}]":
            open_brackets.pop()
    return open_brackets[-1]
