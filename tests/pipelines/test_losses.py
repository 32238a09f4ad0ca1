import keras
import numpy as np
import pytest
from scipy.special import softmax

from pipelines.losses import make_loss


def test_quadratic_cost_by_hand():
    """Two equal scores: activations of a half each, so that either label costs ½ · (¼ + ¼)."""
    loss = make_loss("quadratic")
    assert float(loss(np.array([0]), np.array([[3.0, 3.0]]))) == pytest.approx(0.25)
    # Sure and right costs nothing, sure and wrong ½ · (1 + 1); a batch is averaged.
    assert float(loss(np.array([0, 1]), np.array([[50.0, 0.0], [50.0, 0.0]]))) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_quadratic_cost_is_the_text_s_equation(dtype):
    seed = 20_261_121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    scores, labels = random.normal(size=(6, 10)), random.integers(0, 10, 6)
    scores = scores.astype(dtype)
    activations = softmax(scores.astype("float64"), axis=1)
    expected = np.mean(np.sum((activations - np.eye(10)[labels]) ** 2, axis=1)) / 2
    received = make_loss("quadratic")(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(scores))
    assert float(received) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_takes_scores_and_labels():
    received = make_loss("crossentropy")(np.array([2]), np.array([[0.0, 0.0, np.log(2.0)]]))
    assert float(received) == pytest.approx(np.log(2.0), rel=1e-6)


def test_map_is_the_cross_entropy_with_a_class_of_rubbish():
    """By hand: penalties 2 and 3, the rubbish's 1, the label 0."""
    expected = 2 + np.log(np.exp(-1) + np.exp(-2) + np.exp(-3))
    received = make_loss("map")(np.array([0]), np.array([[-2.0, -3.0]]))
    assert float(received) == pytest.approx(expected, rel=1e-6)


def test_map_pulls_every_right_penalty_down():
    """Where all classes are far off, the cross-entropy sees no difference and this loss the distance itself."""
    far = np.array([[-84.0, -84.0], [-83.0, -83.0]])
    label = np.array([0])
    cross_entropy, map_loss = make_loss("crossentropy"), make_loss("map")
    assert float(cross_entropy(label, far[:1])) == pytest.approx(float(cross_entropy(label, far[1:])))
    assert float(map_loss(label, far[:1])) - float(map_loss(label, far[1:])) == pytest.approx(1)
