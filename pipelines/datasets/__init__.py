"""Datasets as arrays in memory: images uint8 [count, height, width, channels], or signals float32 [count, samples, 1].

`digits` comes with scikit-learn and `speech_clips` is synthesised: neither needs a network. `mnist` and `cifar10` are
looked for in ZOO_DATA_DIR, then in Keras's cache, then downloaded by Keras. `folder` is a folder of images of one's
own, one sub-folder a class.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.datasets.arrays import load_arrays
from pipelines.datasets.digits import DIGITS, load_digits
from pipelines.datasets.folder import load_folder
from pipelines.datasets.parts import Dataset, Loaded, Split
from pipelines.datasets.speech_clips import load_speech_clips
from pipelines.errors import UsageError

__all__ = ["Dataset", "Split", "list_datasets", "load_dataset"]

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _mnist() -> Loaded:
    return *load_arrays("mnist", (28, 28), len(DIGITS)), DIGITS


def _cifar10() -> Loaded:
    return *load_arrays("cifar10", (32, 32, 3), len(CIFAR10)), CIFAR10


# How each is loaded, and how many of its training images are usually held out; None is a tenth.
_loaders: dict[str, tuple[Callable[..., Loaded], int | None]] = {
    "digits": (load_digits, 300),
    "mnist": (_mnist, 10_000),
    "cifar10": (_cifar10, 5_000),
    "speech_clips": (load_speech_clips, 500),
    "folder": (load_folder, None),
}


def list_datasets() -> list[str]:
    """The names that `load_dataset` takes."""
    return list(_loaders)


def load_dataset(name: str, validation: int | None = None, **options: Any) -> Dataset:
    """Load a dataset, the last `validation` training images held out; by default as many as is usual, none with 0.

    `options` are those of `load_folder`, for `folder` alone: `load_dataset(**recipe.dataset.options)` loads
    what a recipe names. Raises UsageError for an unknown name or an impossible split,
    PipelineError for a file that is missing or broken.
    """
    if name not in _loaders:
        raise UsageError(f"Unknown dataset '{name}'; there are {', '.join(_loaders)}.")
    if name == "folder" and not {"path", "image_size"} <= options.keys():
        raise UsageError(
            "The dataset folder needs a path and an image_size, as in path: flowers, image_size: [64, 64]."
        )
    loader, usual = _loaders[name]
    train, test, class_names = loader(**options)
    usual = usual or max(len(train) // 10, 1)
    held_out = usual if validation is None else validation
    if not 0 <= held_out < len(train):
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
