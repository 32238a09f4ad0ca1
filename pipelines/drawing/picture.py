"""What is drawn, and how it becomes files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipelines.files import png, write_files


@dataclass(frozen=True)
class Picture:
    """A figure and the numbers in it, fit for JSON."""

    figure: Figure
    numbers: dict[str, Any]


def save(pictures: Mapping[str, Picture], folder: Path) -> dict[str, Path]:
    """Write the pictures as PNG files into `folder`; each appears whole or not at all. Raises PipelineError."""
    files = write_files(folder, {f"{name}.png": png(picture.figure) for name, picture in pictures.items()})
    return {name: files[f"{name}.png"] for name in pictures}
