"""How the learning rate moves over a run."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from pipelines.settings.training import Constant, Cosine, Exponential, Plateau, Schedule, Steps


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A recipe's schedule as Keras takes it: the rate of each step of a run, float32.

    They are functions of the step alone, so that a run that is resumed goes on as it would have.
    """

    def __init__(
        self, schedule: Constant | Cosine | Steps | Exponential, peak: float, steps_per_epoch: int, epochs: int
    ) -> None:
        self.schedule, self.peak, self.steps_per_epoch, self.epochs = schedule, peak, steps_per_epoch, epochs

    def __call__(self, step: Any) -> Any:
        """The rate of a step; the first is 0."""
        warmup = round(self.schedule.warmup_epochs * self.steps_per_epoch)
        step = ops.cast(step, "float32")
        rate = self.peak * self._factor(step, warmup)
        return ops.where(step < warmup, self.peak * step / max(warmup, 1), rate)

    def _factor(self, step: Any, warmup: int) -> Any:
        """After the warm-up: what part of the peak."""
        epoch = step / self.steps_per_epoch
        match self.schedule:
            case Cosine(epochs=horizon):
                decaying = max((horizon or self.epochs) * self.steps_per_epoch - warmup, 1)
                progress = ops.clip((step - warmup) / decaying, 0.0, 1.0)
                return 0.5 * (1 + ops.cos(3.141592653589793 * progress))
            case Steps(epochs=bounds, factors=factors):
                reached = ops.sum(ops.cast(ops.convert_to_tensor(bounds, "float32") <= epoch, "int32"))
                return ops.take(ops.convert_to_tensor([1.0, *factors], "float32"), reached)
            case Exponential(factor=factor, every_epochs=every):
                return ops.power(factor, ops.floor(epoch / every))
            case _:
                return ops.ones_like(step)

    def get_config(self) -> dict[str, Any]:
        """The arguments, fit for JSON."""
        return {
            "schedule": self.schedule.model_dump(mode="json"),
            "peak": self.peak,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
        }


def make_learning_rate(schedule: Schedule, peak: float, steps_per_epoch: int, epochs: int) -> Any:
    """A number where the rate is set from outside, else a Keras schedule over the run's steps."""
    constant = isinstance(schedule, Constant) and not schedule.warmup_epochs
    return peak if constant or isinstance(schedule, Plateau) else LearningRate(schedule, peak, steps_per_epoch, epochs)


def plateau_factor(schedule: Plateau, accuracies: Sequence[float]) -> float:
    """What part of the peak an epoch has after these validation accuracies, by the epochs before it.

    A function of the past alone: nothing else has to be kept to go on.
    """
    factor, best, since = 1.0, float("-inf"), 0
    for accuracy in accuracies:
        best, since = (accuracy, 0) if accuracy > best else (best, since + 1)
        if since == schedule.patience:
            factor, since = factor * schedule.factor, 0
    return factor
