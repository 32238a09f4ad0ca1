"""A compose file as Docker Compose understands it: variables put in, and each service as the process that it runs."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", "-", ":?", "?", ":+", "+")


class VariableError(Exception):
    """A variable that must be set and is not, or an expression that is none."""


@dataclass(frozen=True)
class Process:
    """What a container of a service runs, so that it can be run without one."""

    command: list[str]
    """Entrypoint and command; the image's own entrypoint, where it has one, is not in it."""
    environment: dict[str, str]
    """The service's own variables."""
    healthcheck: list[str]
    """The command that ends with 0 when the service is well; empty where it has none."""


def load(path: Path) -> dict[str, Any]:
    """The file's contents, anchors and merges resolved, variables not yet."""
    return YAML(typ="safe", pure=True).load(path.read_text("utf-8"))


def process(compose: Mapping[str, Any], service: str, variables: Mapping[str, str]) -> Process:
    """A service of `compose` with `variables` put in, by name."""
    found = interpolated(compose["services"][service], variables)
    environment = found.get("environment") or {}
    if isinstance(environment, list):
        pairs = (entry.partition("=") for entry in environment)
        environment = {name: value if equals else None for name, equals, value in pairs}
    # What has no value in the file is handed on where it is set.
    handed_on = {name: variables.get(name) if value is None else str(value) for name, value in environment.items()}
    return Process(
        command=_words(found.get("entrypoint")) + _words(found.get("command")),
        environment={name: value for name, value in handed_on.items() if value is not None},
        healthcheck=_check(found.get("healthcheck", {}).get("test")),
    )


def interpolated(node: Any, variables: Mapping[str, str]) -> Any:
    """The values of a part of the file with variables put in; keys stay as they are, as Compose has it."""
    if isinstance(node, str):
        return interpolate(node, variables)
    if isinstance(node, Mapping):
        return {key: interpolated(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, variables) for value in node]
    return node


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`$A`, `${A}`, `${A:-b}`, `${A-b}`, `${A:?x}`, `${A?x}`, `${A:+b}`, `${A+b}` and `$$`, as Compose reads them.

    With a colon an empty value counts as none; what stands behind an operator is interpolated in its turn. A variable
    that is not set is empty. Raises VariableError.
    """
    return "".join(part if name is None else _value(part, name, variables) for part, name in _parts(text))


def variables_of(node: Any) -> dict[str, set[str | None]]:
    """The variables that a part of the file names, with the defaults that it gives them; None for one without."""
    found: dict[str, set[str | None]] = {}
    if isinstance(node, str):
        for rest, name in _parts(node):
            if name is None:
                continue
            operator = _operator(rest)
            default = rest[len(operator) :]
            found.setdefault(name, set()).add(default if operator.endswith("-") else "" if operator else None)
            _merge(found, variables_of(default))
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key == "environment" and isinstance(value, Mapping):
                _merge(found, {name: {""} for name, given in value.items() if given is None})
            _merge(found, variables_of(value))
    elif isinstance(node, list):
        for value in node:
            _merge(found, variables_of(value))
    return found


def _merge(found: dict[str, set[str | None]], more: Mapping[str, set[str | None]]) -> None:
    for name, defaults in more.items():
        found.setdefault(name, set()).update(defaults)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Literal text with None, and variables: what stands behind the name (with its operator), and the name."""
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        yield text[position:dollar], None
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            yield "$", None
            position = dollar + 2
        elif following == "{":
            end = _closing(text, dollar + 2)
            inside = text[dollar + 2 : end]
            name = _NAME.match(inside)
            if name is None or not (name.end() == len(inside) or _operator(inside[name.end() :])):
                raise VariableError(f"'{text[dollar : end + 1]}' is no variable.")
            yield inside[name.end() :], name.group()
            position = end + 1
        elif name := _NAME.match(text, dollar + 1):
            yield "", name.group()
            position = name.end()
        else:
            raise VariableError(f"'{text}' has a dollar that names no variable; write $$ for the sign itself.")
    yield text[position:], None


def _closing(text: str, start: int) -> int:
    depth, position = 1, start
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    raise VariableError(f"'{text}' has an opening brace that is not closed.")


def _operator(rest: str) -> str:
    return next((operator for operator in _OPERATORS if rest.startswith(operator)), "")


def _value(rest: str, name: str, variables: Mapping[str, str]) -> str:
    operator = _operator(rest)
    argument = rest[len(operator) :]
    is_there = name in variables and (variables[name] != "" or not operator.startswith(":"))
    match operator[-1:]:
        case "-" if not is_there:
            return interpolate(argument, variables)
        case "+":
            return interpolate(argument, variables) if is_there else ""
        case "?" if not is_there:
            raise VariableError(f"{name} must be set: {interpolate(argument, variables)}")
    return variables.get(name, "")


def _words(command: str | list[str] | None) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command or [])


def _check(test: str | list[str] | None) -> list[str]:
    if not test or test == ["NONE"]:
        return []
    if isinstance(test, str):
        return ["/bin/sh", "-c", test]
    return ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else list(test[1:])
