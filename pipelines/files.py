"""Files that commands write for people: each appears whole or not at all."""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from pipelines.errors import PipelineError

RESOLUTION = 100
"""Of figures, dots per inch."""


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=RESOLUTION, pil_kwargs={"optimize": True})
    return stream.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a text, whole or not at all, where its folder is there already."""
    staged = path.with_name(f".{path.name}")
    staged.write_text(text, "utf-8")
    staged.replace(path)


def write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write files, by their names, into `folder`, and return their paths by the same names. Raises PipelineError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as staging:
            for name, content in contents.items():
                (Path(staging) / name).write_bytes(content)
            return {name: (Path(staging) / name).replace(folder / name) for name in contents}
    except OSError as error:
        raise PipelineError(f"Nothing can be written to '{folder}': {error}.") from error
