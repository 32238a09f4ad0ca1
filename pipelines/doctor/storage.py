"""Room to write, and data to read: the project's home and the datasets."""

import shutil
import tempfile
import zipfile
from pathlib import Path

from pipelines.doctor.finding import Finding
from pipelines.home import home

GB = 1e9
LEAST, ENOUGH = 1.0, 5.0
"""GB free in the home: below the first nothing goes well, below the second a search may fill it."""


def disk() -> list[Finding]:
    """Whether the home, or the folder that it will be made in, can be written to, and how much goes there."""
    place = next(folder for folder in (home(), *home().parents) if folder.exists())
    elsewhere = "let ZOO_HOME name another folder"
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        advice = f"Give yourself the right to write to {place}, or {elsewhere}."
        return [Finding("home", "problem", f"{home()} cannot be written to ({error.strerror})", advice)]
    found = str(home()) if place == home() else f"{home()}, made when it is first written to"
    return [Finding("home", "ok", found), _space(place, f"Remove what you do not need, or {elsewhere}.")]


def _space(place: Path, advice: str) -> Finding:
    free = shutil.disk_usage(place).free / GB
    found = f"{free:.1f} GB free"
    if free < LEAST:
        return Finding("disk", "problem", f"{found}, and at least {LEAST:g} GB are needed", advice)
    if free < ENOUGH:
        return Finding("disk", "note", f"{found}; a search may need {ENOUGH:g} GB", advice)
    return Finding("disk", "ok", found)


def datasets() -> list[Finding]:
    """Where MNIST and CIFAR-10 are; the other datasets come with the installation. Nothing is downloaded."""
    from pipelines.datasets.arrays import data_folder

    folder = data_folder()
    if folder and not folder.is_dir():
        advice = "Let it name a folder with mnist.npz or cifar10.npz, or unset it."
        return [Finding("datasets", "problem", f"ZOO_DATA_DIR is {folder}, and that is no folder", advice)]
    return [_dataset(name) for name in ("mnist", "cifar10")]


def _dataset(name: str) -> Finding:
    from pipelines.datasets.arrays import KEYS, cache_folder, find_file

    path = find_file(name)
    if path is None:
        if name == "cifar10" and any(cache_folder().glob("cifar-10-batches-py*")):
            return Finding(name, "ok", f"Keras's, in {cache_folder()}")
        advice = f"Put {name}.npz into a folder and let ZOO_DATA_DIR name it, or let the first training download it."
        return Finding(name, "note", "not on this machine", advice)
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [key for key in KEYS if f"{key}.npy" not in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        return Finding(name, "problem", f"{path} cannot be read: {error}", "Delete it and fetch it anew.")
    if missing:
        advice = f"Replace it; expected are the arrays {', '.join(KEYS)}."
        return Finding(name, "problem", f"{path} lacks {', '.join(missing)}", advice)
    return Finding(name, "ok", str(path))
