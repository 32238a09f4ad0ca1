"""What a search varies: the values that it may give a field, and in which trials it varies it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from itertools import islice, product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, Tag, model_validator

from pipelines.settings.strict import Strict

FIXED = {
    **dict.fromkeys(("name", "description", "search", "paper", "divergences", "seeds"), "decides nothing in training"),
    "seed": "decides nothing worth searching: what a lucky seed wins, the next one loses",
    "dataset": "has to stay as it is: results on other images could not be compared",
}
"""Fields that cannot be searched over, with all that is inside them, and why."""
MOST_VALUES = 2**53
"""Of a range: up to here all whole numbers are floats too, with which Keras Tuner counts."""
MOST_CONTEXTS = 200


def identity(value: Any) -> str:
    """JSON that is the same for equal values: of 1 and 1.0, but not of 1 and true."""
    return json.dumps(_normal(value), sort_keys=True)


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_64_bits(value: Any) -> Any:
    """Refuse whole numbers that Keras Tuner's protocol has no place for, wherever they are in a value."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it holds a number of more than 64 bits")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _in_64_bits(item)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it should be a number")
    return _in_64_bits(value)


Number = Annotated[int | float, BeforeValidator(_number)]
Value = Annotated[JsonValue, BeforeValidator(_in_64_bits)]


class Range(Strict):
    """Numbers from `min` to `max`, both included; whole ones where both are whole."""

    min: Number
    max: Number
    step: Number | None = Field(None, description="what is added from value to value; in a log range, their ratio")
    sampling: Literal["linear", "log"] = "linear"
    when: dict[str, Value] | None = Field(None, description="as of Choice")

    @model_validator(mode="after")
    def _varies(self) -> "Range":
        if self.min == self.max:
            raise ValueError(f"it has only one value, {self.min}; set the field itself to that")
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) must be below max ({self.max})")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"a log range starts above zero, min is {self.min}")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError(f"the step of a log range is a factor above 1, received {self.step}")
        if self.step is not None and self.step <= 0:
            raise ValueError("the step of a range is above zero")
        if not math.isfinite(self.max / self.min if self.sampling == "log" else float(self.max) - self.min):
            raise ValueError(f"from {self.min} to {self.max} is too far")
        if self.count is not None and self.count < 2:
            raise ValueError(f"with a step of {self.step} it has only one value, {self.min}")
        if self.count is not None and self.count > MOST_VALUES:
            raise ValueError("it has more than 2**53 values")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return all(isinstance(number, int) for number in (self.min, self.max, self.step) if number is not None)

    @property
    def count(self) -> int | None:
        """How many values there are; None where they are not counted."""
        if self.step is None:
            return int(self.max) - int(self.min) + 1 if self.is_whole else None
        if self.sampling == "log":
            return int(math.log(self.max / self.min) / math.log(self.step) + 1e-9) + 1
        return (_exact(self.max) - _exact(self.min)) // _exact(self.step) + 1

    def at(self, index: int) -> int | float:
        """One of a stepped range's values, counted from 0; of indices beyond the ends, the end's."""
        if self.step is None or self.count is None:
            raise ValueError("a range without a step has no list of values")
        index = min(max(index, 0), self.count - 1)
        if self.sampling == "linear":  # exactly: ten floats of 0.1 do not add up to 1
            value = _exact(self.min) + index * _exact(self.step)
            return int(value) if self.is_whole else float(value)
        return self.within(self.min * self.step**index)

    def index(self, value: Any) -> int | None:
        """Where a value is in a stepped range; None where it is not."""
        if self.step is None or not is_number(value) or not self.min <= value <= self.max:
            return None
        if self.sampling == "linear":
            index = round((_exact(value) - _exact(self.min)) / _exact(self.step))
        else:
            index = round(math.log(value / self.min) / math.log(self.step))
        return index if self.at(index) == value else None

    def within(self, value: float) -> int | float:
        """A number as a value of a range: not beyond its ends, and with six digits that tell values apart."""
        if self.is_whole:
            return min(max(int(value), int(self.min)), int(self.max))
        alike = math.log10(max(abs(self.min), abs(self.max)) / (self.max - self.min))
        digits = min(6 + max(0, math.ceil(alike)), 17)
        return min(max(float(f"{value:.{digits}g}"), float(self.min)), float(self.max))

    def probes(self) -> list[Any]:
        """Both ends, and a value between them that is a fraction where there are any."""
        if self.step is not None:
            return list(dict.fromkeys([self.at(0), self.at(1), self.at(MOST_VALUES)]))
        between = [] if self.is_whole else [self.within(self.min + (self.max - self.min) / math.pi)]
        return [self.min, *between, self.max]


class Choice(Strict):
    """One of a list of values."""

    choices: list[Value]
    when: dict[str, Value] | None = Field(
        None,
        description="fields with choices, each with one of them or a list of some: it is varied in trials that have "
        "these, and elsewhere the recipe's own value stands",
    )

    @model_validator(mode="after")
    def _varies(self) -> "Choice":
        again = duplicate([identity(value) for value in self.choices])
        if len({identity(value) for value in self.choices}) < 2:
            only = f"only one value, {json.dumps(self.choices[0])}" if self.choices else "no value"
            raise ValueError(f"it has {only}; expected two or more to choose from")
        if again is not None:
            raise ValueError(f"it lists {json.dumps(self.choices[again])} twice")
        return self

    def find(self, value: Any) -> int | None:
        """Where an equal value is among the choices; None where there is none."""
        wanted = identity(value)
        return next((i for i, choice in enumerate(self.choices) if identity(choice) == wanted), None)

    def probes(self) -> list[Any]:
        """All choices."""
        return list(self.choices)


def _spelled_out(space: Any) -> Any:
    if space == "boolean":
        return {"choices": [False, True]}
    if isinstance(space, list):
        return {"choices": space}
    if isinstance(space, dict | Range | Choice):
        return space
    raise ValueError("expected {min: …, max: …}, {choices: […]}, a list of choices, or the word boolean")


def _kind(space: Any) -> str:
    return "Choice" if isinstance(space, Choice) or (isinstance(space, dict) and "choices" in space) else "Range"


Space = Annotated[
    Annotated[Range, Tag("Range")] | Annotated[Choice, Tag("Choice")],
    Discriminator(_kind),
    BeforeValidator(_spelled_out),
]
Spaces = Mapping[str, Range | Choice]
"""By the dotted names of their fields."""


def duplicate(values: Sequence[str]) -> int | None:
    """Where a value is that was there before; None where all differ."""
    return next((i for i, value in enumerate(values) if value in values[:i]), None)


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true and false are not here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_order(spaces: Spaces) -> list[str]:
    """The fields, each after those that its condition names. Raises ValueError where conditions go in a circle."""
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(spaces, ()))
    for field, space in spaces.items():
        sorter.add(field, *(space.when or {}))
    try:
        return [field for field in sorter.static_order() if field in spaces]
    except CycleError as error:
        circle = " which waits for ".join(f"'{field}'" for field in reversed(error.args[1]))
        raise ValueError(f"varies nothing where conditions go in a circle: {circle}") from None


def held(spaces: Spaces, field: str) -> dict[str, list[Any]]:
    """The fields on which it depends whether one is varied, in order, each with the choices in which it is.

    Raises ValueError for a condition that cannot be, in words that go on after "The recipe …".
    """
    found: dict[str, list[Any]] = {}
    ahead, seen = [field], {field}
    while ahead:
        name = ahead.pop()
        for parent in spaces[name].when or {}:
            choices = _allowed(spaces, name, parent)
            earlier = found.get(parent, choices)
            found[parent] = [choice for choice in earlier if identity(choice) in set(map(identity, choices))]
            if not found[parent]:
                raise ValueError(f"never varies '{field}': no value of '{parent}' meets all its conditions")
            ahead += [parent] if parent not in seen else []
            seen.add(parent)
    return {name: found[name] for name in in_order(spaces) if name in found}


def _allowed(spaces: Spaces, field: str, parent: str) -> list[Any]:
    """The choices of `parent` with which the condition of `field` is met."""
    varies = f"varies '{field}' when '{parent}'"
    space = spaces.get(parent)
    if space is None:
        raise ValueError(f"{varies} has some value, but does not search over '{parent}'")
    if isinstance(space, Range):
        raise ValueError(f"{varies} has some value, but that has a range; a condition names a field with choices")
    given = (spaces[field].when or {})[parent]
    # A list can be one of the choices itself, as of filters or of augmentation steps.
    wanted = given if isinstance(given, list) and space.find(given) is None else [given]
    if not wanted:
        raise ValueError(f"{varies} is in an empty list, which is never; name one of its choices")
    for value in wanted:
        if space.find(value) is None:
            raise ValueError(f"{varies} is {json.dumps(value)}, which is none of its choices")
    chosen = {space.find(value) for value in wanted}
    return [choice for i, choice in enumerate(space.choices) if i in chosen]


def contexts(spaces: Spaces, field: str) -> Iterator[dict[str, Any]]:
    """The settings of other fields in which one is varied, in order; only the first of very many."""
    parents = held(spaces, field)
    for values in islice(product(*parents.values()), MOST_CONTEXTS):
        yield dict(zip(parents, values, strict=True))


def described(settings: Mapping[str, Any]) -> str:
    """Settings in words."""
    return " and ".join(f"{field} = {_cut(json.dumps(value))}" for field, value in settings.items())


def check_spaces(spaces: Spaces) -> None:
    """Raise ValueError, in words that go on after "The recipe …", where spaces contradict each other."""
    for field in spaces:
        reason = FIXED.get(field.partition(".")[0])
        if reason:
            raise ValueError(f"searches over '{field}', which {reason}")
    in_order(spaces)
    for field in spaces:
        parts, depends = field.split("."), held(spaces, field)
        plain = ".".join(str(int(part)) if part.isdecimal() else part for part in parts)
        if field != plain:  # or a field could be searched under two names
            raise ValueError(f"searches over '{field}', which is written '{plain}'")
        for around in (".".join(parts[:n]) for n in range(1, len(parts))):
            if around in spaces and around not in depends:
                raise ValueError(
                    f"searches over '{around}' and over '{field}' inside it, which would undo each other; give the "
                    f"inner one a condition, when: {{{around}: …}}"
                )


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def _exact(number: float) -> Fraction:
    """The number that is written, not the float next to it."""
    return Fraction(str(number))
