"""Datasets as arrays: images uint8 [count, height, width, channels], labels int64 [count].

`digits` comes with scikit-learn and needs no network; `mnist` is looked for in ZOO_DATA_DIR, then in Keras's cache,
then downloaded by Keras.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import PipelineError, UsageError

KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Split:
    """Some images and their labels."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A dataset in its three parts. Validation is held out of the training images; test is read once."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    digest: str
    """SHA-256 over all images and labels in their order, and over where the parts begin."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image."""
        return self.train.images.shape[1:]


def list_datasets() -> list[str]:
    """The names that `load_dataset` takes."""
    return list(_loaders)


def load_dataset(name: str, validation: int | None = None) -> Dataset:
    """Load a dataset, the last `validation` training images held out (by default the dataset's usual number).

    Raises UsageError for an unknown name or an impossible split, PipelineError for a file that is missing or broken.
    """
    if name not in _loaders:
        raise UsageError(f"Unknown dataset '{name}'; there are {', '.join(_loaders)}.")
    loader, usual = _loaders[name]
    train, test, class_names = loader()
    held_out = usual if validation is None else validation
    if not 0 < held_out < len(train):
        raise UsageError(f"dataset.validation is {held_out}; {name} has {len(train)} training images to hold out from.")
    cut = len(train) - held_out
    digest = hashlib.sha256(str(cut).encode())
    for array in (train.images, train.labels, test.images, test.labels):
        digest.update(np.ascontiguousarray(array).data)
    return Dataset(
        name=name,
        train=Split(train.images[:cut], train.labels[:cut]),
        validation=Split(train.images[cut:], train.labels[cut:]),
        test=test,
        class_names=class_names,
        digest=digest.hexdigest(),
    )


Loaded = tuple[Split, Split, tuple[str, ...]]


def _digits() -> Loaded:
    """scikit-learn's 1,797 handwritten digits (UCI, 43 writers), 8x8, enlarged into MNIST's frame.

    MNIST's digits fill a 20x20 box in the middle of 28x28 pixels, and so do these. The split is a fixed permutation:
    1,137 training, 300 validation and 360 test images.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    small = np.round(raw.images * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(small), 28, 28, 1), np.uint8)
    for i, image in enumerate(small):
        enlarged = Image.fromarray(image).resize((20, 20), Image.Resampling.BICUBIC)
        images[i, 4:24, 4:24, 0] = np.asarray(enlarged)
    order = np.random.Generator(np.random.PCG64(20_260)).permutation(len(images))
    images, labels = images[order], raw.target[order].astype(np.int64)
    return Split(images[:-360], labels[:-360]), Split(images[-360:], labels[-360:]), _DIGITS


def _mnist() -> Loaded:
    return *_npz("mnist", (28, 28), 10), _DIGITS


_DIGITS = tuple("0123456789")
_loaders: dict[str, tuple[Callable[[], Loaded], int]] = {"digits": (_digits, 300), "mnist": (_mnist, 10_000)}


def _npz(name: str, image_shape: tuple[int, ...], classes: int) -> tuple[Split, Split]:
    """Read `NAME.npz` as Keras lays it out and check every array of it."""
    path = _find(f"{name}.npz")
    remedy = f"Delete it and fetch it anew, or point ZOO_DATA_DIR to a folder with a good {path.name}."
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise PipelineError(f"{path} lacks the array {missing[0]}; expected {', '.join(KEYS)}. {remedy}")
            arrays = {key: file[key] for key in KEYS}
    except PipelineError:
        raise
    except Exception as error:  # a damaged archive surfaces as whatever of a dozen errors its reader raises
        raise PipelineError(f"{path} is truncated or no .npz file ({error}). {remedy}") from error

    def split(part: str) -> Split:
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if images.shape[1:] == image_shape and len(image_shape) == 2:
            images = images[..., np.newaxis]
        if images.shape[1:] != (*image_shape, 1)[:3] or images.dtype != np.uint8:
            expected = f"uint8 images of {'x'.join(map(str, image_shape))}"
            raise PipelineError(f"{path}: x_{part} is {images.dtype} {images.shape}; expected {expected}. {remedy}")
        labels = labels.reshape(-1) if labels.shape[1:] == (1,) else labels
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            expected = f"{len(images)} whole numbers"
            raise PipelineError(f"{path}: y_{part} is {labels.dtype} {labels.shape}; expected {expected}. {remedy}")
        if not len(labels) or labels.min() < 0 or labels.max() >= classes:
            found = f"labels from {labels.min()} to {labels.max()}" if len(labels) else "no labels"
            raise PipelineError(f"{path}: y_{part} has {found}; expected 0 to {classes - 1}. {remedy}")
        return Split(images, labels.astype(np.int64))

    return split("train"), split("test")


def _find(filename: str) -> Path:
    """The dataset's file in ZOO_DATA_DIR or Keras's cache, or downloaded there."""
    folder = os.environ.get("ZOO_DATA_DIR")
    if folder and (Path(folder) / filename).is_file():
        return Path(folder) / filename
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = keras_home / "datasets" / filename
    if path.is_file():
        return path
    import keras

    try:
        # The public function is the one place that knows Keras's address and checksum of the file.
        getattr(keras.datasets, path.stem).load_data()
    except Exception as error:
        raise PipelineError(
            f"{filename} is neither in ZOO_DATA_DIR ({folder or 'not set'}) nor at {path}, and the download failed "
            f"({' '.join(str(error).split())[:200]}); put the file into a folder and set ZOO_DATA_DIR to it."
        ) from error
    return path
