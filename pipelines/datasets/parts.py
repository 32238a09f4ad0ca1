"""What a dataset is, once it is loaded."""

import math
from dataclasses import dataclass

import numpy as np

MOST_VALUES = 8_000_000
"""Of the inputs in one batch without training: photographs come in smaller batches than digits."""


@dataclass(frozen=True)
class Split:
    """Some images, or signals, and their labels."""

    images: np.ndarray
    """Images uint8 [count, height, width, channels], or signals float32 [count, samples, 1] from −1 to 1."""
    labels: np.ndarray
    """int64 [count]."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_signals(self) -> bool:
        """Whether it holds signals in place of images."""
        return self.images.ndim == 3

    @property
    def evaluation_batch(self) -> int:
        """How many of them a network is shown at once, where it is not trained."""
        return max(1, min(500, MOST_VALUES // math.prod(self.images.shape[1:])))

    def some_of_each_class(self, count: int) -> "Split":
        """`count` of them, or all where there are fewer, of as many classes as possible."""
        first_of_class = np.unique(self.labels, return_index=True)[1]
        others = np.setdiff1d(np.arange(len(self)), first_of_class)
        chosen = np.concatenate([first_of_class, others])[:count]
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Dataset:
    """A dataset in its three parts. Validation is held out of the training images, or empty; test is read once."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    digest: str
    """SHA-256 over all images and labels in their order, and over where the parts begin."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What a network is shown: (height, width, channels) of an image, (samples, 1) of a signal.

        Training images can be larger, where augmentation takes crops of them.
        """
        return self.validation.images.shape[1:]

    @property
    def has_signals(self) -> bool:
        """Whether it holds signals in place of images."""
        return self.train.has_signals


Loaded = tuple[Split, Split, tuple[str, ...]]
"""What a loader returns: the training images, validation not yet held out; the test images; the classes' names."""
