"""What the layers ask of their arguments; errors end in what was received, as Keras's do."""

from collections.abc import Sequence
from typing import Any

from keras import initializers


def require_whole(**numbers: Any) -> None:
    """Raise ValueError unless every number is a whole one of 1 or more."""
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ValueError(f"`{name}` must be a whole number of 1 or more. Received: {name}={number}")


def require_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if value not in choices:
        raise ValueError(f"`{name}` must be {' or '.join(map(repr, choices))}. Received: {name}={value}")


def require_room(kernel_size: Sequence[int], padding: str, input_shape: Sequence[int | None]) -> None:
    """Raise ValueError where a window that is not padded is larger than the input."""
    sides = input_shape[1:-1]
    if padding == "valid" and any(
        side is not None and side < size for side, size in zip(sides, kernel_size, strict=True)
    ):
        raise ValueError(f"The input is smaller than a window of {tuple(kernel_size)}. Received: {input_shape=}")


def get_initializer(name: str, value: Any) -> Any:
    """The Keras initialiser that a name, a config or an initialiser means. Raises ValueError."""
    found = initializers.get(value)
    if not isinstance(found, initializers.Initializer):
        raise ValueError(f"`{name}` must be or name a Keras initialiser. Received: {name}={value}")
    return found
