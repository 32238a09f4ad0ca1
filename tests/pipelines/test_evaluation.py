import keras
import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from pipelines.datasets import Split
from pipelines.errors import PipelineError
from pipelines.evaluation import Evaluation, evaluate
from pipelines.evaluation.calibration import calibration

SEED = 5


def evaluation(images, classes):
    """Answers that are sure, and wrong for the first two of the examples."""
    labels = np.arange(len(images)) % classes
    taken_for = labels.copy()
    taken_for[:2] = (labels[:2] + 1) % classes
    probabilities = 0.98 * np.eye(classes, dtype=np.float32)[taken_for] + 0.02 / classes
    return Evaluation(Split(images, labels), probabilities, tuple(f"class {i}" for i in range(classes)))


def random_evaluation(count, classes):
    """Random answers, right more often than by chance."""
    random = np.random.default_rng(SEED)
    labels = random.integers(0, classes, count)
    scores = random.normal(size=(count, classes))
    scores[np.arange(count), labels] += 1
    probabilities = np.exp(2 * scores) / np.exp(2 * scores).sum(axis=1, keepdims=True)
    names = tuple(str(i) for i in range(classes))
    return Evaluation(Split(np.zeros((count, 4, 4, 1), np.uint8), labels), probabilities.astype(np.float32), names)


def test_accuracy_and_loss():
    found = evaluation(np.zeros((8, 4, 4, 1), np.uint8), 4)
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(-(6 * np.log(0.985) + 2 * np.log(0.005)) / 8, rel=1e-5)
    assert "class 3" in found.report()


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (9_967, 10_000), (1, 3)])
def test_the_interval_is_wilsons(right, count):
    labels = np.zeros(count, np.int64)
    probabilities = np.eye(2, dtype=np.float32)[(np.arange(count) >= right).astype(int)]
    found = Evaluation(Split(np.zeros((count, 2, 2, 1), np.uint8), labels), probabilities, ("a", "b"))
    z, share = 1.959964, right / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    assert found.accuracy_interval == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert found.accuracy == share


def test_top_five():
    found = random_evaluation(500, 12)
    likeliest = np.argsort(-found.probabilities, axis=1)[:, :5]
    expected = np.mean([label in five for label, five in zip(found.split.labels, likeliest, strict=True)])
    assert found.top5_accuracy == pytest.approx(expected)
    assert found.accuracy < expected < 1
    assert found.metrics()["top5_accuracy"] == found.top5_accuracy


def test_five_classes_or_fewer_have_no_top_five():
    found = evaluation(np.zeros((10, 4, 4, 1), np.uint8), 5)
    assert found.top5_accuracy is None
    assert "top5_accuracy" not in found.metrics()


def test_calibration_bins_are_scikit_learns():
    found = random_evaluation(2_000, 4)
    bins = found.calibration
    confidence = found.probabilities.max(axis=1)
    right = found.predicted == found.split.labels
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    filled = bins.counts > 0
    np.testing.assert_allclose(bins.accuracy[filled], accuracy)
    np.testing.assert_allclose(bins.confidence[filled], mean)
    assert bins.counts.sum() == 2_000
    # And the error by its definition, example by example.
    places = np.ceil(confidence.astype(np.float64) * 15).astype(int)
    error = sum(abs(right[places == m].sum() - confidence[places == m].sum()) for m in range(1, 16)) / 2_000
    assert bins.error == pytest.approx(error, rel=1e-5)


def test_calibration_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = calibration(probabilities, np.array([0, 1, 1, 1]), bins=10)
    # Two answers at 0.9 of which one is right, two at 0.6 that are both right.
    assert found.error == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert list(np.flatnonzero(found.counts)) == [5, 8]  # a bin holds its upper edge
    assert calibration(np.eye(2)[[0, 1, 0]], np.array([0, 1, 0])).error == 0


def test_worst_classes_come_first_and_absent_ones_not_at_all():
    labels = np.array([0, 0, 1, 1, 2, 2])
    probabilities = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 1, 1]]
    found = Evaluation(Split(np.zeros((6, 2, 2, 1), np.uint8), labels), probabilities, ("a", "b", "c", "absent"))
    worst = found.worst_classes(3)
    assert [(scores.name, scores.count) for scores in worst] == [("c", 2), ("b", 2), ("a", 2)]
    assert worst[1].recall == 0.5
    assert worst[1].precision == pytest.approx(1 / 3)
    assert worst[1].f1 == pytest.approx(0.4)


@pytest.mark.parametrize("images", [np.zeros((8, 4, 4, 3), np.uint8), np.zeros((8, 100, 1), np.float32)])
def test_images_and_signals_that_were_misclassified_are_drawn(images):
    figures = evaluation(images, 4).figures()
    assert set(figures) == {"misclassified.png", "confusion_matrix.png", "calibration.png"}
    assert figures["misclassified.png"].get_suptitle() == "2 misclassified"
    drawn = [text.get_text() for axes in figures["misclassified.png"].axes for text in axes.texts]
    assert drawn == ["class 0", "class 1", "class 1", "class 2"]  # the true one before what it was taken for


def test_a_thousand_classes_have_no_confusion_matrix():
    figures = evaluation(np.zeros((60, 4, 4, 1), np.uint8), 51).figures()
    assert set(figures) == {"misclassified.png", "calibration.png"}


def test_photographs_are_shown_in_smaller_batches_than_digits():
    assert Split(np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1)).evaluation_batch == 500
    assert Split(np.zeros((1, 227, 227, 3), np.uint8), np.zeros(1)).evaluation_batch == 51


def test_a_network_whose_scores_are_no_numbers():
    image = keras.Input((2, 2, 1), name="image")
    model = keras.Model(image, keras.layers.Rescaling(float("nan"))(keras.layers.Flatten()(image)), name="broken")
    split = Split(np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int64))
    with pytest.raises(PipelineError, match="broken gives scores that are no numbers to 3 of 3 examples"):
        evaluate(model, split, tuple("abcd"))
