"""From a recipe to a trained network: the one path that `zoo train` and every trial of a search take."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo
from pipelines.augmentation import Augmentation, make_augmentation
from pipelines.batches import steps_per_epoch, training_batches, validation_batches
from pipelines.course import Course
from pipelines.datasets import Dataset, Split, load_dataset
from pipelines.errors import PipelineError, UsageError
from pipelines.losses import make_loss
from pipelines.optimizers import make_optimizer
from pipelines.recipes import Recipe
from pipelines.schedules import make_learning_rate
from pipelines.trainee import Trainee

# Several steps in one graph call: on two cores a third more images/s than a call a step.
MOST_STEPS_PER_CALL = 40


@dataclass(frozen=True)
class Fitted:
    """A trained network and how it got there."""

    model: keras.Model
    """In its serving form: one output, the scores."""
    history: dict[str, list[float]] = field(repr=False)
    """`loss`, `accuracy` and, where images are held out, `val_loss`, `val_accuracy`; one value an epoch."""
    epoch: int = -1
    """The epoch, from 0, whose weights the model has."""

    @property
    def validation_accuracy(self) -> float | None:
        """At that epoch, 0 to 1; None where no images are held out."""
        accuracies = self.history.get("val_accuracy")
        return accuracies[self.epoch] if accuracies else None


def augmentation_of(recipe: Recipe, data: Dataset) -> Augmentation | None:
    """What the recipe does to the dataset's training images. Raises UsageError for a step that they cannot take."""
    if not recipe.augmentation:
        return None
    if data.has_signals:
        raise UsageError(
            f"The augmentation step '{recipe.augmentation[0].step}' is for images, and {data.name} has signals; leave "
            "augmentation empty."
        )
    return make_augmentation(
        recipe.augmentation, data.train.images.shape[1:], len(data.class_names), training_images=data.train.images
    )


def load_for(recipe: Recipe) -> Dataset:
    """The recipe's dataset, validation and test images as its network is shown them. Raises as `load_dataset` does."""
    data = load_dataset(**recipe.dataset.options)
    return _as_shown(augmentation_of(recipe, data), data)


def _as_shown(augmentation: Augmentation | None, data: Dataset) -> Dataset:
    """The dataset with the centres of its validation and test images alone, where the network takes crops."""
    if augmentation is None or augmentation.input_shape == data.input_shape:
        return data
    validation, test = (
        Split(augmentation.evaluation_view(split.images), split.labels) for split in (data.validation, data.test)
    )
    return replace(data, validation=validation, test=test)


def examples(recipe: Recipe, data: Dataset) -> Split:
    """Inputs to look at, as the recipe's network is shown them, from `load_for`'s dataset; none of them is for testing.

    They are those of validation or, where none are held out, those that were trained on, not augmented.
    """
    if len(data.validation):
        return data.validation
    augmentation, train = augmentation_of(recipe, data), data.train
    return Split(augmentation.evaluation_view(train.images), train.labels) if augmentation else train


def build_network(recipe: Recipe, data: Dataset) -> keras.Model:
    """The recipe's network, in its training form, for the dataset's inputs and classes, drawn from the recipe's seed.

    Raises ZooError or UsageError for a network or an argument that the zoo does not have or cannot use.
    """
    network = recipe.network
    reserved = {"name", "form", "input_shape", "classes"} & set(network.arguments)
    if reserved:
        raise UsageError(f"network.arguments.{reserved.pop()} cannot be set: the recipe's other fields decide it.")
    keras.utils.set_random_seed(recipe.seed)
    try:
        with _precision(recipe):
            return zoo.create_model(
                network.name, input_shape=data.input_shape, classes=len(data.class_names), **network.arguments
            )
    except zoo.ZooError:
        raise
    # Keras's complaints about an argument's value, and Python's about one of another type than is expected.
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        if isinstance(error, KeyError):  # which says the key and nothing else
            reason = f"there is no {reason}"
        raise UsageError(f"{network.name} cannot be built with {network.arguments}: {reason}.") from error


@contextlib.contextmanager
def _precision(recipe: Recipe) -> Iterator[None]:
    """What is built inside computes in the recipe's precision."""
    keras.config.set_dtype_policy(recipe.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def fit(
    recipe: Recipe,
    data: Dataset,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    *,
    checkpoint: Path | None = None,
    devices: Sequence[str] | None = None,
    until: int | None = None,
) -> Fitted:
    """Train the recipe's network on the training images; validation is measured after every epoch, where there is one.

    The same recipe, seed included, gives the same numbers on one machine. The test images are not touched.

    Args:
        checkpoint: a file that is written after every epoch. Where it exists already, training goes on from there and
            ends with the weights of a run that was never interrupted.
        devices: TensorFlow's devices that share each batch among them; by default all GPUs.
        until: end after so many epochs, those of the checkpoint included, as a part of the run: rates and all else are
            those of the recipe's `epochs`, and a later call with the same checkpoint goes on with the rest.

    Raises PipelineError for a run that diverges, UsageError or ZooError for an impossible recipe.
    """
    if until is not None and until < 1:
        raise UsageError(f"A run cannot end after {until} epochs; expected until to be 1 or more.")
    augmentation = augmentation_of(recipe, data)
    data = _as_shown(augmentation, data)
    steps = steps_per_epoch(recipe, data.train, augmentation.copies if augmentation else 1)
    soft = augmentation is not None and augmentation.soft_labels
    strategy = _strategy(devices)
    with strategy.scope():
        network = build_network(recipe, data)
        model = _compiled(recipe, network, steps, soft, strategy.num_replicas_in_sync)
    course = Course(recipe, checkpoint, until)
    course.resume(model)
    validation = (
        validation_batches(data.validation, len(data.class_names) if soft else None) if len(data.validation) else None
    )
    if not course.is_over:
        model.fit(
            training_batches(recipe, data.train, augmentation, first_epoch=course.epochs),
            initial_epoch=course.epochs,
            epochs=course.last,
            steps_per_epoch=steps,
            shuffle=False,
            validation_data=validation,
            callbacks=[*callbacks, course],
            verbose=0,
        )
    losses = course.history["loss"]
    if not np.isfinite(losses[-1]):
        raise PipelineError(
            f"The loss of {recipe.name} became {losses[-1]} in epoch {len(losses)}; try a "
            f"smaller optimizer.learning_rate than {recipe.optimizer.learning_rate:g}."
        )
    course.put_back_best(model)
    return Fitted(zoo.serving_form(network), course.history, course.kept_epoch)


def _strategy(devices: Sequence[str] | None) -> tf.distribute.Strategy:
    devices = [gpu.name.removeprefix("/physical_device:") for gpu in _gpus()] if devices is None else devices
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()


def _gpus() -> list[Any]:
    return tf.config.list_physical_devices("GPU")


def _compiled(recipe: Recipe, network: keras.Model, steps: int, soft_labels: bool, devices: int) -> Trainee:
    """The network, ready to be trained."""
    penalties = recipe.regularization
    with _precision(recipe):  # Keras scales the loss of a model that computes in float16, and asks the model itself
        # λ is a share of each mini-batch's loss, as in Nielsen's network3.py.
        weight = zoo.get_spec(recipe.network.name).auxiliary_weight
        # The gradients of all devices are added, and Keras takes care of the examples' loss alone.
        model = Trainee(network, weight, (penalties.l2 / (2 * steps) + penalties.decay / 2) / devices)
    accuracy = keras.metrics.CategoricalAccuracy if soft_labels else keras.metrics.SparseCategoricalAccuracy
    rate = make_learning_rate(recipe.schedule, recipe.optimizer.learning_rate, steps, recipe.epochs)
    model.compile(
        optimizer=make_optimizer(recipe.optimizer, rate),
        loss=make_loss(recipe.loss, soft_labels),
        metrics=[accuracy(name="accuracy")],
        # Keras takes whole calls only: a divisor, or the last call of an epoch would eat into the next one's steps.
        # TensorFlow cannot place several steps of several devices in one graph.
        steps_per_execution=max(n for n in range(1, MOST_STEPS_PER_CALL + 1 if devices == 1 else 2) if steps % n == 0),
        # XLA compiles convolutions for the CPU into code several times slower than TensorFlow's own kernels, and cannot
        # reach the weights of another device.
        jit_compile=bool(_gpus()) and devices == 1,
    )
    # Or Keras makes the optimizer's variables while it traces the step, and has to trace it twice: a second each time.
    model.optimizer.build(model.trainable_variables)
    return model
