"""What is drawn: a network, trained in a run or fresh from the zoo, and inputs for it."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mlflow.entities import Run

import zoo
from pipelines.datasets import Dataset, Split, load_dataset
from pipelines.errors import UsageError
from pipelines.networks import network_of
from pipelines.recipes import Recipe, list_recipes, load_recipe
from pipelines.references import Reference
from pipelines.training import examples
from serving.images import find_images, read_as_png

SHOWN = 10
"""Inputs that are shown at most."""
MEASURED = 64
"""Inputs that are measured with at most."""
OFFLINE = "digits"
"""The images that a network is shown which nothing was trained on."""


@dataclass(frozen=True)
class Network:
    """A network in its serving form, and where its weights come from."""

    model: keras.Model
    spec: str
    """Its name in the zoo."""
    title: str
    """For people: the name, and whether it is trained."""
    run_id: str | None = None


@dataclass(frozen=True)
class Subject:
    """A network and inputs for it, float32 [count, *input shape] and raw, as it takes them."""

    network: Network
    class_names: tuple[str, ...]
    shown: np.ndarray
    """Ten inputs of the dataset, of as many classes as can be, or the user's images; ten at most."""
    labels: np.ndarray | None
    """Int64 [count] of what is shown; None where nobody knows, or where they are not the network's classes."""
    source: str
    """Where what is shown is from."""
    example: np.ndarray
    """The one of them that is looked at closely, [*input shape]."""
    measured: np.ndarray
    """Inputs of the dataset to measure with."""

    @property
    def is_signal(self) -> bool:
        """Whether the inputs are signals [samples, 1] and not images."""
        return self.example.ndim == 2


def find_subject(reference: Reference, images: Path | None = None, *, invert: bool = False, seed: int = 1) -> Subject:
    """The trained run, or else the untrained network of the zoo, that `reference` names, and what to show it.

    Args:
        reference: names a network.
        images: an image file, or a folder of them, to show instead of the dataset's; made the network's size as
            the signature `predict_bytes` of an export does it.
        invert: swap light and dark of `images`.
        seed: of a fresh network's weights, and of the choice among the dataset's inputs.

    The dataset's inputs are those of validation or, for a run that held none out, those that it was trained on; test
    images are not touched. Raises UsageError, PipelineError or ServingError for what cannot be found or read, and
    PipelineError for a run whose dataset has changed since.
    """
    if invert and images is None:
        raise UsageError("--invert swaps light and dark of images of your own; give an image, or leave it out.")
    if reference.network is None:
        raise UsageError(reference.why_no_network)
    if reference.run and reference.recipe:
        network, data, title = _trained(reference.run, reference.recipe, reference)
        seen = examples(reference.recipe, data)
    else:
        network, data, title = _untrained(reference.network, seed)
        seen = data.validation
    shape, classes = network.model.input.shape[1:], network.model.output.shape[-1]
    # A fresh network of as many classes is as good for these as for its own.
    known = len(data.class_names) == classes
    if images is None:
        chosen = some_of_each(seen, seed)
        shown = _fitted(seen.images[chosen], shape)
        labels = seen.labels[chosen] if known else None
        source = f"{'validation' if seen is data.validation else 'training'} set of {title}"
        closely = len(shown) // 2
    elif len(shape) == 3:
        files = find_images([images])[:SHOWN]
        shown = np.stack([_read(file, shape, invert) for file in files])
        labels, source, closely = None, images.name, 0
    else:
        raise UsageError(f"{network.spec} takes signals and no images; leave out '{images}'.")
    return Subject(
        network=network,
        class_names=data.class_names if known else tuple(f"class {i}" for i in range(classes)),
        shown=shown,
        labels=labels,
        source=source,
        example=shown[closely],
        measured=_fitted(seen.images[:MEASURED], shape),
    )


def _trained(run: Run, recipe: Recipe, reference: Reference) -> tuple[Network, Dataset, str]:
    """The network of a run, the dataset that it was trained on, and that dataset's title."""
    network = Network(network_of(run), recipe.network.name, reference.title, run.info.run_id)
    return network, reference.data, recipe.dataset.title


def _untrained(name: str, seed: int) -> tuple[Network, Dataset, str]:
    """A network with weights drawn from the seed, a dataset to show it, and that dataset's title."""
    keras.utils.set_random_seed(seed)
    network = Network(zoo.create_model(name, "serving"), name, f"{name}, untrained (fresh weights, seed {seed})")
    if zoo.get_spec(name).input == "image":
        return network, load_dataset(OFFLINE), OFFLINE
    for recipe in map(load_recipe, list_recipes()):
        if recipe.network.name == name:
            return network, load_dataset(**recipe.dataset.options), recipe.dataset.title
    raise UsageError(f"There are no signals to show {name}: no built-in recipe is for it.")


def some_of_each(split: Split, seed: int) -> np.ndarray:
    """The places of ten examples, of as many classes as can be, chosen by the seed: int [count], by class."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(split))
    labels = split.labels[order]
    turn = np.zeros(len(split), int)  # 0 for the first example of its class, 1 for the second, …
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.sum(labels == label))
    first = np.argsort(turn, kind="stable")[:SHOWN]
    return order[first[np.argsort(labels[first], kind="stable")]]


def _fitted(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs [count, …] in a network's input shape: images are resized, grey ones given three channels and back."""
    if values.shape[1:] == shape:
        return values.astype(np.float32)
    images = tf.constant(values)
    if values.shape[-1] != shape[-1]:
        images = tf.image.grayscale_to_rgb(images) if shape[-1] == 3 else tf.image.rgb_to_grayscale(images)
    return tf.image.resize(images, shape[:2], antialias=True).numpy()


def _read(file: Path, shape: tuple[int, ...], invert: bool) -> np.ndarray:
    """An image file as the export's `predict_bytes` decodes and resizes it: float32 [height, width, channels]."""
    encoded = read_as_png(file, invert=invert)
    decoded = tf.io.decode_image(encoded, channels=shape[-1], expand_animations=False)
    return tf.image.resize(decoded, shape[:2], antialias=True).numpy()
