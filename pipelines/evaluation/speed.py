"""What a network costs: its size, and how fast it answers on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from zoo.anatomy import anatomy, totals
from zoo.spec import ZooError


@dataclass(frozen=True)
class Speed:
    """How fast a network answers, from raw pixels or samples in memory to scores in memory; the median of repeats."""

    images_per_second: float
    """In large batches; signals too are counted here."""
    batch_size: int
    latency_ms: float
    """Milliseconds for one example alone."""
    latency_p95_ms: float
    """95 of 100 answers take no longer."""


@dataclass(frozen=True)
class Size:
    """How large a network is."""

    parameters: int
    """Trainable."""
    operations: int | None
    """Multiplications and additions for one example, as `zoo.anatomy.cost` counts them; None where no rule does."""


def measure_speed(model: keras.Model, examples: np.ndarray, batch_size: int, seconds: float) -> Speed:
    """Let a network answer raw examples [count, *input shape] for about `seconds`, and no less than once a batch size.

    The examples are repeated until they fill a batch.
    """

    @tf.function(input_signature=[tf.TensorSpec(model.input.shape, tf.float32)])
    def scores(inputs: tf.Tensor) -> tf.Tensor:
        return model(inputs, training=False)

    batch = np.resize(examples, (batch_size, *examples.shape[1:])).astype(np.float32)
    # The first answer builds the graph; the first to a batch asks the system for its memory.
    scores(batch[:1]).numpy()
    alone = _durations(lambda: scores(batch[:1]).numpy(), seconds / 2)
    together = _durations(lambda: scores(batch).numpy(), seconds / 2)
    return Speed(
        images_per_second=batch_size / float(np.median(together)),
        batch_size=batch_size,
        latency_ms=1000 * float(np.median(alone)),
        latency_p95_ms=1000 * float(np.percentile(alone, 95)),
    )


def measure_size(model: keras.Model) -> Size:
    """Of a network, or of an ensemble, whose operations are the sum of its members'."""
    members = [layer for layer in model.layers if isinstance(layer, keras.Model)] or [model]
    try:
        operations = sum(totals(anatomy(member)).operations for member in members)
    except ZooError:  # a file of the user's, with layers that the zoo does not know
        operations = None
    return Size(sum(int(np.prod(weight.shape)) for weight in model.trainable_weights), operations)


def _durations(answer: Callable[[], object], seconds: float) -> list[float]:
    """Of calls in a row, in seconds, until the time is over; the first is left out where there are others."""
    durations: list[float] = []
    end = time.perf_counter() + seconds
    while not durations or time.perf_counter() < end:
        begun = time.perf_counter()
        answer()
        durations.append(time.perf_counter() - begun)
    return durations[1:] or durations
