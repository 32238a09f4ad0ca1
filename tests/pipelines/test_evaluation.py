import numpy as np
import pytest

from pipelines.datasets import Split
from pipelines.evaluation import Evaluation


def evaluation(images, classes):
    """Answers that are sure, and wrong for the first two of the examples."""
    labels = np.arange(len(images)) % classes
    taken_for = labels.copy()
    taken_for[:2] = (labels[:2] + 1) % classes
    probabilities = 0.98 * np.eye(classes, dtype=np.float32)[taken_for] + 0.02 / classes
    return Evaluation(Split(images, labels), probabilities, tuple(f"class {i}" for i in range(classes)))


def test_accuracy_and_loss():
    found = evaluation(np.zeros((8, 4, 4, 1), np.uint8), 4)
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(-(6 * np.log(0.985) + 2 * np.log(0.005)) / 8, rel=1e-5)
    assert "class 3" in found.report()


@pytest.mark.parametrize("images", [np.zeros((8, 4, 4, 3), np.uint8), np.zeros((8, 100, 1), np.float32)])
def test_images_and_signals_that_were_misclassified_are_drawn(images):
    figures = evaluation(images, 4).figures()
    assert set(figures) == {"misclassified.png", "confusion_matrix.png"}
    assert figures["misclassified.png"].get_suptitle() == "2 misclassified"
    drawn = [axes for axes in figures["misclassified.png"].axes if axes.texts]
    assert [{text.get_text() for text in axes.texts} for axes in drawn] == [
        {"class 0", "class 1"},
        {"class 1", "class 2"},
    ]


def test_a_thousand_classes_have_no_confusion_matrix():
    figures = evaluation(np.zeros((60, 4, 4, 1), np.uint8), 51).figures()
    assert set(figures) == {"misclassified.png"}


def test_photographs_are_shown_in_smaller_batches_than_digits():
    assert Split(np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1)).evaluation_batch == 500
    assert Split(np.zeros((1, 227, 227, 3), np.uint8), np.zeros(1)).evaluation_batch == 51
