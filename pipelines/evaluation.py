"""What a trained network is worth: the numbers and figures that a run records of its test images, or signals."""

from dataclasses import dataclass

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import classification_report, confusion_matrix

from pipelines.datasets import Split
from pipelines.figures import classification, signals

MOST_CLASSES = 50
"""Of a confusion matrix that can still be read."""


@dataclass(frozen=True)
class Evaluation:
    """A network's answers to some labelled images, or signals."""

    split: Split
    probabilities: np.ndarray
    """float32 [count, classes]."""
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each: int64 [count]."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of them classified rightly, 0 to 1."""
        return float(np.mean(self.predicted == self.split.labels))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats, whichever loss the network was trained with."""
        right = self.probabilities[np.arange(len(self.split)), self.split.labels]
        return float(-np.mean(np.log(np.maximum(right, 1e-12))))

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
        return figures


def evaluate(model: keras.Model, split: Split, class_names: tuple[str, ...]) -> Evaluation:
    """Let a network, which returns logits, classify the images or signals of a split."""
    logits = model.predict(split.images, batch_size=split.evaluation_batch, verbose=0)
    return Evaluation(split, keras.ops.convert_to_numpy(keras.ops.softmax(logits)), class_names)
