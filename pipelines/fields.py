"""A recipe's nested fields by their dotted names: `optimizer.learning_rate`, `augmentation.0.degrees`."""

import copy
import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipelines.errors import UsageError

OPEN = ("network.arguments.", "search.", "schedule.", "early_stopping.", "paper.")
"""Blocks whose names depend on the network or on their kind, or that need not be there: the recipe checks them."""


def set_field(fields: Any, dotted: str, value: Any, recipe: str) -> None:
    """Set a nested field in place; only the blocks in `OPEN` may gain new names.

    Raises UsageError, which names the `recipe`, for a field that it does not have.
    """
    # The names below `search` are dotted themselves.
    *parents, last = dotted.split(".", 1) if dotted.startswith("search.") else dotted.split(".")
    node, reached = fields, ""
    for part in parents:
        if isinstance(node, dict) and part in node and node[part] is None:
            node[part] = {}  # a block that the recipe may have and has not: the field is its first
        node, reached = _step(node, part, dotted, recipe), f"{reached}{part}."
    if isinstance(node, list):
        _step(node, last, dotted, recipe)
        node[int(last)] = copy.deepcopy(value)
    elif isinstance(node, dict) and (not node or last in node or reached in OPEN):
        node[last] = copy.deepcopy(value)
    else:
        _step(node, last, dotted, recipe)


def _step(node: Any, part: str, dotted: str, recipe: str) -> Any:
    if isinstance(node, dict) and part in node:
        return node[part]
    if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
        return node[int(part)]
    known = (
        list(node) if isinstance(node, dict) else [str(i) for i in range(len(node))] if isinstance(node, list) else []
    )
    near = difflib.get_close_matches(part, known, n=1)
    expected = (
        f"did you mean '{near[0]}'?"
        if near
        else f"expected one of {', '.join(known)}."
        if known
        else "it has no parts."
    )
    raise UsageError(f"The recipe {recipe} has no field '{dotted}': '{part}' is unknown; {expected}")


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every value of nested fields by its dotted name; a list is one value, unless it holds fields itself."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in items for k, v in flatten(item, f"{prefix}{key}.").items()}
    return {prefix[:-1]: value}


def short_names(fields: Sequence[str]) -> list[str]:
    """The last part of each dotted name, for people; in full where two fields end alike, or the end says nothing."""
    last = [name.rpartition(".")[2] for name in fields]
    often = Counter(last)
    return [
        part if often[part] == 1 and part != "name" and not part.isdecimal() else name
        for name, part in zip(fields, last, strict=True)
    ]
