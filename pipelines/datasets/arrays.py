"""Datasets that Keras knows, as `.npz` files in Keras's layout or from Keras itself."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from pipelines.datasets.parts import Split
from pipelines.errors import PipelineError

KEYS = ("x_train", "y_train", "x_test", "y_test")
Arrays = dict[str, np.ndarray]


def data_folder() -> Path | None:
    """The folder that ZOO_DATA_DIR names."""
    folder = os.environ.get("ZOO_DATA_DIR")
    return Path(folder) if folder else None


def cache_folder() -> Path:
    """Where Keras keeps what it has downloaded."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def find_file(name: str) -> Path | None:
    """`NAME.npz` in ZOO_DATA_DIR, else in Keras's cache."""
    folders = (data_folder(), cache_folder())
    return next((folder / f"{name}.npz" for folder in folders if folder and (folder / f"{name}.npz").is_file()), None)


def load_arrays(name: str, image_shape: tuple[int, ...], classes: int) -> tuple[Split, Split]:
    """The training and test images of `name`, every array checked. Raises PipelineError.

    `NAME.npz` is looked for in ZOO_DATA_DIR, then in Keras's cache; else Keras finds, or downloads, what it keeps in
    a layout of its own (CIFAR-10's pickled batches).
    """
    path, cache, filename = find_file(name), cache_folder(), f"{name}.npz"
    if path is None:
        arrays, source = _from_keras(name, cache), f"Keras's {name} in {cache}"
        remedy = f"Delete it there, or put {filename} into a folder and set ZOO_DATA_DIR to it."
    else:
        remedy = f"Delete it and fetch it anew, or point ZOO_DATA_DIR to a folder with a good {filename}."
        arrays, source = _from_file(path, remedy), str(path)
    return (
        _checked(arrays, "train", image_shape, classes, source, remedy),
        _checked(arrays, "test", image_shape, classes, source, remedy),
    )


def _from_file(path: Path, remedy: str) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise PipelineError(f"{path} lacks the array {missing[0]}; expected {', '.join(KEYS)}. {remedy}")
            return {key: file[key] for key in KEYS}
    except PipelineError:
        raise
    except Exception as error:  # a damaged archive surfaces as whatever of a dozen errors its reader raises
        raise PipelineError(f"{path} is truncated or no .npz file ({error}). {remedy}") from error


def _from_keras(name: str, cache: Path) -> Arrays:
    """From Keras's public function: the one place that knows its address, checksum and layout on disk."""
    import keras

    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras says what it downloads
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        where = os.environ.get("ZOO_DATA_DIR") or "not set"
        raise PipelineError(
            f"{name}.npz is neither in ZOO_DATA_DIR ({where}) nor in {cache}, and the download failed "
            f"({' '.join(str(error).split())[:200]}); put the file into a folder and set ZOO_DATA_DIR to it."
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _checked(arrays: Arrays, part: str, image_shape: tuple[int, ...], classes: int, source: str, remedy: str) -> Split:
    """One part's images uint8 [count, height, width, channels] and labels int64 [count]."""
    images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if images.shape[1:] == image_shape and len(image_shape) == 2:
        images = images[..., np.newaxis]
    if images.shape[1:] != (*image_shape, 1)[:3] or images.dtype != np.uint8:
        expected = f"uint8 images of {'x'.join(map(str, image_shape))}"
        raise PipelineError(f"{source}: x_{part} is {images.dtype} {images.shape}; expected {expected}. {remedy}")
    labels = labels.reshape(-1) if labels.shape[1:] == (1,) else labels
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        expected = f"{len(images)} whole numbers"
        raise PipelineError(f"{source}: y_{part} is {labels.dtype} {labels.shape}; expected {expected}. {remedy}")
    if not len(labels) or labels.min() < 0 or labels.max() >= classes:
        found = f"labels from {labels.min()} to {labels.max()}" if len(labels) else "no labels"
        raise PipelineError(f"{source}: y_{part} has {found}; expected 0 to {classes - 1}. {remedy}")
    return Split(images, labels.astype(np.int64))
