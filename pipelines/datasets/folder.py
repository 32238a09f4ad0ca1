"""A folder of images of one's own, one sub-folder a class."""

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipelines.datasets.arrays import data_folder
from pipelines.datasets.parts import Loaded, Split
from pipelines.errors import PipelineError

SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 0.2
COPIES = 3
"""Of the pixels in memory while a network is trained: this array, and TensorFlow's two."""
Files = dict[str, list[Path]]
"""The image files of each class, classes in alphabetical order."""


def load_folder(path: str, image_size: Sequence[int], channels: int = 3) -> Loaded:
    """PNG and JPEG files as uint8 arrays in memory; the classes are named after the sub-folders.

    Args:
        path: a folder; a relative one is looked for in ZOO_DATA_DIR, then in the working directory. It holds either
            `train/` and `test/` with the same classes in both, or the classes, of each of which a fifth of the images
            is for testing: those whose names hash lowest, so that the split does not depend on the machine.
        image_size: (height, width) in pixels. Every image is shrunk or enlarged until it fills that, then cut about
            its centre.
        channels: 3 for colour, 1 for grey.

    Raises PipelineError for a folder that is missing or has too few classes or images, for an image that cannot be
    read (by its name), and for more pixels than this machine's memory holds.
    """
    root = _find(path)
    if (root / "train").is_dir() and (root / "test").is_dir():
        train, test = _files(root / "train", 1), _files(root / "test", 1)
        unpaired = sorted(train.keys() ^ test.keys())
        if unpaired:
            raise PipelineError(
                f"The class '{unpaired[0]}' of {root} is in one of train/ and test/ only; put it in both."
            )
    else:
        # Of two images one is for training and one for testing.
        train, test = {}, {}
        for name, files in _files(root, 2).items():
            cut = max(round(TEST_SHARE * len(files)), 1)
            test[name], train[name] = files[:cut], files[cut:]
    height, width = image_size
    _require_memory(root, sum(len(f) for f in (*train.values(), *test.values())), (height, width, channels))
    return _read(train, height, width, channels), _read(test, height, width, channels), tuple(train)


def _find(path: str) -> Path:
    places = [place / path for place in (data_folder(), Path()) if place is not None]
    for place in places:
        if place.is_dir():
            return place
    raise PipelineError(
        f"There is no folder '{path}', neither in ZOO_DATA_DIR ({data_folder() or 'not set'}) nor in the working "
        f"directory ({Path.cwd()}); expected one with a sub-folder of PNG or JPEG files for each class."
    )


def _files(folder: Path, fewest: int) -> Files:
    """Each class's image files, ordered by a hash of class and name."""
    classes = [p.name for p in _inside(folder) if p.is_dir()]
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "no sub-folder"
        raise PipelineError(f"{folder} has {found}; expected a sub-folder of images for each of two classes or more.")
    files = {}
    for name in classes:
        inside = [p for p in _inside(folder / name) if p.suffix.lower() in SUFFIXES]
        if len(inside) < fewest:
            raise PipelineError(
                f"The class '{name}' has {len(inside)} PNG or JPEG files in {folder / name}; expected {fewest} or more."
            )
        files[name] = sorted(inside, key=_rank)
    return files


def _inside(folder: Path) -> list[Path]:
    """What lies in a folder, by name; hidden files are left out."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise PipelineError(f"The folder '{folder}' cannot be read: {error}.") from error


def _rank(file: Path) -> bytes:
    return hashlib.sha256(os.fsencode(f"{file.parent.name}/{file.name}")).digest()


def _require_memory(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    needed = COPIES * count * math.prod(shape)
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > present:
        size = "x".join(map(str, shape))
        raise PipelineError(
            f"Training on the {count} images of {root} takes {needed / 2**30:.0f} GiB at {size}, and this machine has "
            f"{present / 2**30:.0f} GiB of memory; choose a smaller dataset.image_size, or fewer images."
        )


def _read(files: Files, height: int, width: int, channels: int) -> Split:
    """All images of a part, the classes mixed: the end of the training images is held out for validation."""
    labelled = sorted(
        ((file, label) for label, inside in enumerate(files.values()) for file in inside),
        key=lambda pair: _rank(pair[0]),
    )
    images = np.empty((len(labelled), height, width, channels), np.uint8)

    def put(i: int) -> None:
        images[i] = _pixels(labelled[i][0], height, width, channels)

    # Pillow decodes and resizes without Python's lock.
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(put, range(len(labelled))):
            pass
    return Split(images, np.array([label for _, label in labelled], np.int64))


def _pixels(file: Path, height: int, width: int, channels: int) -> np.ndarray:
    """One image, upright: uint8 [height, width, channels]."""
    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith(("I", "F")):
                raise PipelineError(f"The image '{file}' has more than 8 bits a channel; convert it to 8-bit.")
            if image.has_transparency_data:  # on white, the colour of paper, as `zoo predict` sees it
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB" if channels == 3 else "L")
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise PipelineError(f"The image '{file}' cannot be read ({error}); mend it or take it away.") from error
    return np.asarray(image).reshape(height, width, channels)
