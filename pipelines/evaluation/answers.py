"""A network's answers to labelled images, or signals: how many are right, how sure they are, and what goes wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from pipelines.datasets import Split
from pipelines.errors import PipelineError
from pipelines.evaluation.calibration import Calibration, calibration
from pipelines.figures import classification, signals
from pipelines.figures.calibration import reliability_diagram

MOST_CLASSES = 50
"""Of a confusion matrix that can still be read."""
TOP = 5


@dataclass(frozen=True)
class ClassScores:
    """How well one class is told from the others; shares are 0 to 1, and 0 where they are of nothing."""

    name: str
    precision: float
    """Of what was taken for the class, the share that is of it."""
    recall: float
    """Of the class, the share that was taken for it."""
    f1: float
    """The harmonic mean of both."""
    count: int
    """Examples of the class."""


@dataclass(frozen=True)
class Evaluation:
    """A network's answers to some labelled images, or signals; at least one."""

    split: Split
    probabilities: np.ndarray
    """float32 [count, classes]."""
    class_names: tuple[str, ...]

    @cached_property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each: int64 [count]."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of them classified rightly, 0 to 1."""
        return float(np.mean(self.predicted == self.split.labels))

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Wilson's 95 % confidence interval of the accuracy (E. B. Wilson 1927, JASA 22, 209-212)."""
        right = int(np.sum(self.predicted == self.split.labels))
        interval = binomtest(right, len(self.split)).proportion_ci(0.95, method="wilson")
        return float(interval.low), float(interval.high)

    @property
    def top5_accuracy(self) -> float | None:
        """Share whose class is among the five likeliest; None where there are no more than five classes."""
        classes = range(len(self.class_names))
        if len(classes) <= TOP:
            return None
        return float(top_k_accuracy_score(self.split.labels, self.probabilities, k=TOP, labels=classes))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats, whichever loss the network was trained with."""
        right = self.probabilities[np.arange(len(self.split)), self.split.labels]
        return float(-np.mean(np.log(np.maximum(right, 1e-12))))

    @cached_property
    def calibration(self) -> Calibration:
        """How often it is right, by how sure it is."""
        return calibration(self.probabilities, self.split.labels)

    @cached_property
    def classes(self) -> list[ClassScores]:
        """Each class's scores, in the classes' order."""
        columns = precision_recall_fscore_support(
            self.split.labels, self.predicted, labels=range(len(self.class_names)), zero_division=0.0
        )
        rows = zip(self.class_names, *columns, strict=True)
        return [ClassScores(name, float(p), float(r), float(f), int(count)) for name, p, r, f, count in rows]

    def worst_classes(self, most: int) -> list[ClassScores]:
        """The classes of the lowest F1, lowest first, among those that there are examples of."""
        return sorted((scores for scores in self.classes if scores.count), key=lambda scores: scores.f1)[:most]

    def metrics(self) -> dict[str, float]:
        """Accuracy with its interval, top-5 accuracy where there is one, loss and calibration error, by name."""
        low, high = self.accuracy_interval
        metrics = {"accuracy": self.accuracy, "accuracy_low": low, "accuracy_high": high, "loss": self.loss}
        if self.top5_accuracy is not None:
            metrics["top5_accuracy"] = self.top5_accuracy
        return metrics | {"calibration_error": self.calibration.error}

    def report(self) -> str:
        """Precision, recall and F1 of each class, as text."""
        labels = range(len(self.class_names))
        return classification_report(
            self.split.labels,
            self.predicted,
            labels=labels,
            target_names=self.class_names,
            digits=4,
            zero_division=0.0,
        )

    def figures(self) -> dict[str, Figure]:
        """The figures by their file names; no confusion matrix where there are too many classes to read one."""
        labels, predicted, names = self.split.labels, self.predicted, self.class_names
        wrong = np.flatnonzero(predicted != labels)
        gallery = signals.misclassified_gallery if self.split.has_signals else classification.misclassified_gallery
        true, taken_for = ([names[i] for i in classes[wrong]] for classes in (labels, predicted))
        figures = {"misclassified.png": gallery(self.split.images[wrong], true, taken_for)}
        if len(names) <= MOST_CLASSES:
            counts = confusion_matrix(labels, predicted, labels=range(len(names)))
            figures["confusion_matrix.png"] = classification.confusion_matrix(counts, names)
        bins = self.calibration
        figures["calibration.png"] = reliability_diagram(bins.counts, bins.confidence, bins.accuracy, bins.error)
        return figures


def evaluate(
    model: keras.Model,
    split: Split,
    class_names: tuple[str, ...],
    callbacks: Iterable[keras.callbacks.Callback] = (),
) -> Evaluation:
    """Let a network, which returns logits, classify the images or signals of a split.

    Raises PipelineError for a network whose scores are no numbers.
    """
    logits = model.predict(split.images, batch_size=split.evaluation_batch, verbose=0, callbacks=[*callbacks])
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.cast(logits, "float32")))
    broken = int(np.sum(~np.isfinite(probabilities).all(axis=1)))
    if broken:
        raise PipelineError(
            f"{model.name} gives scores that are no numbers to {broken} of {len(split)} examples; its weights are "
            "broken, so train it again, with a smaller learning rate."
        )
    return Evaluation(split, probabilities, class_names)
