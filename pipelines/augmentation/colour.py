"""Colours shifted along their principal components (AlexNet, section 4.1)."""

import math

import numpy as np
import tensorflow as tf

from pipelines.augmentation.change import Change
from pipelines.settings.augmentation import PCAColour

MOST_PIXELS = 20_000_000
"""That the components are computed from: of more, images at equal distances are taken."""


def pca_colour(step: PCAColour, training_images: np.ndarray) -> Change:
    """Add one random colour to all pixels of each image, along the components of the training images' colours."""
    components = tf.constant(colour_components(training_images) * step.deviation, tf.float32)

    def change(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        colours = tf.random.stateless_normal([tf.shape(images)[0], 3], seed) @ components
        return images + colours[:, tf.newaxis, tf.newaxis]

    return change


def colour_components(images: np.ndarray) -> np.ndarray:
    """The principal components of the pixels of images uint8 [count, height, width, 3]: float64 [3, 3].

    A row is a direction in red, green and blue as long as the pixels' standard deviation along it, in grey levels.
    """
    chosen = images[:: math.ceil(math.prod(images.shape[:3]) / MOST_PIXELS)]
    pixels, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for start in range(0, len(chosen), 1000):  # as floats, all at once need not fit into memory
        part = chosen[start : start + 1000].reshape(-1, 3).astype(np.float64)
        pixels += len(part)
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / pixels
    variances, directions = np.linalg.eigh(products / pixels - np.outer(mean, mean))
    return (directions * np.sqrt(np.maximum(variances, 0))).T
