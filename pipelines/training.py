"""From a recipe to a trained network: the one path that `zoo train` and every trial of a search take."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import zoo
from pipelines.augmentation import make_augmentation
from pipelines.datasets import Dataset, Split
from pipelines.errors import PipelineError, UsageError
from pipelines.losses import make_loss
from pipelines.recipes import Recipe
from pipelines.settings.training import Optimizer, Schedule

# Several steps in one graph call: on two cores a third more images/s than a call a step.
MOST_STEPS_PER_CALL = 40


@dataclass(frozen=True)
class Fitted:
    """A trained network and how it got there."""

    model: keras.Model
    """In its serving form: one output, the scores."""
    history: dict[str, list[float]] = field(repr=False)
    """`loss`, `accuracy`, `val_loss`, `val_accuracy`, one value an epoch."""

    @property
    def validation_accuracy(self) -> float:
        """At the last epoch, whose weights the model has; 0 to 1."""
        return self.history["val_accuracy"][-1]


class Trainee(keras.Model):
    """A network as it is trained: its layers, with what the loss adds to that of the scores.

    The loss of the training examples is that of the scores, plus `auxiliary_weight` times that of each auxiliary
    head, plus `l2` times the sum of all squared kernels (those of convolutions and dense layers; biases and the
    coefficients of trained subsampling are left out). The accuracy, and all that is measured on other examples, is of
    the scores alone: of what will be served.
    """

    def __init__(self, network: keras.Model, auxiliary_weight: float, l2: float) -> None:
        super().__init__(network.input, network.outputs, name=network.name)
        self.auxiliary_weight = auxiliary_weight
        self.l2 = l2

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """A scalar float32."""
        scores, *auxiliary = keras.tree.flatten(y_pred)
        loss = super().compute_loss(x, y, scores, sample_weight, training)
        if not training:
            return loss
        for head in auxiliary:
            loss += self.auxiliary_weight * self.loss(y, head, sample_weight)
        if self.l2:
            kernels = [weight for weight in self.trainable_weights if weight.name == "kernel"]
            loss += self.l2 * sum(keras.ops.sum(keras.ops.square(kernel)) for kernel in kernels)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The mean of each metric so far."""
        return super().compute_metrics(x, y, keras.tree.flatten(y_pred)[0], sample_weight)


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


def fit(recipe: Recipe, data: Dataset, callbacks: Iterable[keras.callbacks.Callback] = ()) -> Fitted:
    """Train the recipe's network on the training images; validation is measured after every epoch.

    The same recipe, seed included, gives the same numbers on one machine. The test images are not touched. Raises
    PipelineError for a run that diverges, UsageError or ZooError for an impossible recipe.
    """
    if recipe.augmentation and data.has_signals:
        raise UsageError(
            f"The augmentation step '{recipe.augmentation[0].step}' is for images, and {data.name} has signals; leave "
            "augmentation empty."
        )
    network = build_network(recipe, data)
    steps = steps_per_epoch(recipe, data)
    with _precision(recipe):  # Keras scales the loss of a model that computes in float16, and asks the model itself
        # The regularisation is a share of each mini-batch's loss, as in Nielsen's network3.py.
        weight = zoo.get_spec(recipe.network.name).auxiliary_weight
        model = Trainee(network, weight, recipe.regularization.l2 / (2 * steps))
    model.compile(
        optimizer=_optimizer(recipe.optimizer, _learning_rate(recipe, steps)),
        loss=make_loss(recipe.loss),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # Keras takes whole calls only: a divisor, or the last call of an epoch would eat into the next one's steps.
        steps_per_execution=max(n for n in range(1, MOST_STEPS_PER_CALL + 1) if steps % n == 0),
        # XLA compiles convolutions for the CPU into code several times slower than TensorFlow's own kernels.
        jit_compile=bool(tf.config.list_physical_devices("GPU")),
    )
    # Or Keras makes the optimizer's variables while it traces the step, and has to trace it twice: a second each time.
    model.optimizer.build(model.trainable_variables)
    history = model.fit(
        training_batches(recipe, data.train),
        epochs=recipe.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=_validation_batches(data.validation),
        callbacks=[StopOnNaN(), *callbacks],
        verbose=0,
    )
    if not np.isfinite(history.history["loss"][-1]):
        raise PipelineError(
            f"The loss of {recipe.name} became {history.history['loss'][-1]} in epoch {len(history.epoch)}; try a "
            f"smaller optimizer.learning_rate than {recipe.optimizer.learning_rate:g}."
        )
    return Fitted(
        zoo.serving_form(network), {name: [float(v) for v in values] for name, values in history.history.items()}
    )


def steps_per_epoch(recipe: Recipe, data: Dataset) -> int:
    """Full batches in the training images. What is left over waits for another epoch's order.

    Raises UsageError for a batch larger than the training set.
    """
    if recipe.batch_size > len(data.train):
        raise UsageError(f"batch_size is {recipe.batch_size}; {data.name} has {len(data.train)} training images.")
    return len(data.train) // recipe.batch_size


def training_batches(recipe: Recipe, split: Split) -> tf.data.Dataset:
    """All epochs' batches in one stream: (images or signals float32 [batch, …], labels int64 [batch]).

    Order and augmentation are functions of (seed, epoch, step) alone, whatever the number of threads.
    """
    images, labels = _tensors(split)
    augment = make_augmentation(recipe.augmentation)
    fold = tf.random.experimental.stateless_fold_in
    run_seed = tf.constant([recipe.seed, 0], tf.int32)

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = fold(run_seed, epoch)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), epoch_seed)
        batches = tf.data.Dataset.from_tensor_slices(order).batch(recipe.batch_size, drop_remainder=True)
        return batches.enumerate(start=1).map(lambda step, chosen: (fold(epoch_seed, step), chosen))

    def prepare(seed: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(tf.cast(tf.gather(images, chosen), tf.float32), seed), tf.gather(labels, chosen)

    seeds_and_indices = tf.data.Dataset.range(recipe.epochs).flat_map(one_epoch)
    batches = seeds_and_indices.map(prepare, num_parallel_calls=2).prefetch(8)
    return _without_autotune(batches)


def _validation_batches(split: Split) -> tf.data.Dataset:
    whole = tf.data.Dataset.from_tensor_slices(_tensors(split))
    return _without_autotune(whole.batch(split.evaluation_batch))


def _tensors(split: Split) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.device("CPU"):  # a dataset may be larger than a GPU's memory, and is read on the CPU
        return tf.constant(split.images), tf.constant(split.labels)


def _without_autotune(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Autotune's thread is waited for whenever an iterator goes: a tenth of a second an epoch, seconds at the end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


class StopOnNaN(keras.callbacks.Callback):
    """End a run whose loss is no number any more: nothing that follows can mend it."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop after the epoch in which it happened, so that the epoch's numbers are still recorded."""
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


def _learning_rate(recipe: Recipe, steps: int) -> Any:
    """A number, or a Keras schedule over the run's steps."""
    schedule: Schedule = recipe.schedule
    peak, warmup, total = recipe.optimizer.learning_rate, round(schedule.warmup_epochs * steps), recipe.epochs * steps
    if schedule.name == "constant" and not warmup:
        return peak
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        # From the warm-up's end; "constant" is a cosine that never falls (alpha 1).
        decay_steps=max(total - warmup, 1),
        alpha=1.0 if schedule.name == "constant" else 0.0,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def _optimizer(choice: Optimizer, learning_rate: Any) -> keras.optimizers.Optimizer:
    decay = choice.weight_decay or None
    match choice.name:
        case "sgd":
            return keras.optimizers.SGD(learning_rate, momentum=choice.momentum, weight_decay=decay)
        case "adam":
            return keras.optimizers.Adam(learning_rate, weight_decay=decay)
        case "adamw":
            return keras.optimizers.AdamW(learning_rate, weight_decay=choice.weight_decay)
