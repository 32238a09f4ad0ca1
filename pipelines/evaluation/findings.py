"""All that is measured of a network on one part of a dataset."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from pipelines.datasets import Split
from pipelines.evaluation.answers import Evaluation, evaluate
from pipelines.evaluation.speed import Size, Speed, measure_size, measure_speed


@dataclass(frozen=True)
class Findings:
    """A network's answers, size and speed."""

    evaluation: Evaluation
    size: Size
    speed: Speed

    def costs(self) -> dict[str, float]:
        """Images per second, latency and, where they are known, operations, by name."""
        known = {} if self.size.operations is None else {"operations": self.size.operations}
        speed = self.speed
        return {
            "images_per_second": speed.images_per_second,
            "latency_ms": speed.latency_ms,
            "latency_p95_ms": speed.latency_p95_ms,
            **known,
        }

    def numbers(self) -> dict[str, Any]:
        """Every number, fit for JSON."""
        return {
            "examples": len(self.evaluation.split),
            **self.evaluation.metrics(),
            "parameters": self.size.parameters,
            **self.costs(),
            "batch_size": self.speed.batch_size,
            "classes": [vars(scores) for scores in self.evaluation.classes],
        }


def examine(
    model: keras.Model,
    split: Split,
    class_names: tuple[str, ...],
    seconds: float,
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> Findings:
    """Let a network answer a split, and measure its speed for about so many seconds.

    Raises PipelineError for a network whose scores are no numbers.
    """
    evaluation = evaluate(model, split, class_names, callbacks)
    speed = measure_speed(model, split.images[: split.evaluation_batch], split.evaluation_batch, seconds)
    return Findings(evaluation, measure_size(model), speed)
