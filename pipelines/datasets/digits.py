"""scikit-learn's handwritten digits, the offline default."""

import numpy as np
from PIL import Image

from pipelines.datasets.parts import Loaded, Split

DIGITS = tuple("0123456789")


def load_digits() -> Loaded:
    """scikit-learn's 1,797 handwritten digits (UCI, 43 writers), 8x8, enlarged into MNIST's frame.

    MNIST's digits fill a 20x20 box in the middle of 28x28 pixels, and so do these. The split is a fixed permutation:
    1,437 training (1,137 and 300 for validation) and 360 test images.
    """
    from sklearn import datasets

    raw = datasets.load_digits()
    small = np.round(raw.images * (255 / 16)).astype(np.uint8)
    images = np.zeros((len(small), 28, 28, 1), np.uint8)
    for i, image in enumerate(small):
        enlarged = Image.fromarray(image).resize((20, 20), Image.Resampling.BICUBIC)
        images[i, 4:24, 4:24, 0] = np.asarray(enlarged)
    order = np.random.Generator(np.random.PCG64(20_260)).permutation(len(images))
    images, labels = images[order], raw.target[order].astype(np.int64)
    return Split(images[:-360], labels[:-360]), Split(images[-360:], labels[-360:]), DIGITS
