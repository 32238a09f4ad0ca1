"""What a trained network is worth: the numbers and figures that a run records of its test images."""

from dataclasses import dataclass

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import classification_report, confusion_matrix

from pipelines.datasets import Split
from pipelines.figures import classification


@dataclass(frozen=True)
class Evaluation:
    """A network's answers to some labelled images."""

    split: Split
    probabilities: np.ndarray
    """float32 [count, classes]."""
    class_names: tuple[str, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest class of each image: int64 [count]."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of images classified rightly, 0 to 1."""
        return float(np.mean(self.predicted == self.split.labels))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
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
        """The figures by their file names."""
        labels, predicted = self.split.labels, self.predicted
        wrong = np.flatnonzero(predicted != labels)
        names = self.class_names
        return {
            "confusion_matrix.png": classification.confusion_matrix(
                confusion_matrix(labels, predicted, labels=range(len(names))), names
            ),
            "misclassified.png": classification.misclassified_gallery(
                self.split.images[wrong], [names[i] for i in labels[wrong]], [names[i] for i in predicted[wrong]]
            ),
        }


def evaluate(model: keras.Model, split: Split, class_names: tuple[str, ...], batch_size: int = 500) -> Evaluation:
    """Let a network, which returns logits, classify the images of a split."""
    logits = model.predict(split.images, batch_size=batch_size, verbose=0)
    return Evaluation(split, keras.ops.convert_to_numpy(keras.ops.softmax(logits)), class_names)
