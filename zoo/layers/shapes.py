"""The sides that are left where windows are slid over an input."""

from collections.abc import Sequence


def sides_after(
    input_shape: Sequence[int | None], size: int, stride: int = 1, padding: str = "valid"
) -> tuple[int | None, ...]:
    """The sides of the output of windows of `size`, `stride` apart, over [batch, *sides, maps]; None stays unknown."""
    # Each side: ceil(side / stride), after "valid" has taken its margin.
    margin = size - 1 if padding == "valid" else 0
    return tuple(side and -((margin - side) // stride) for side in input_shape[1:-1])
