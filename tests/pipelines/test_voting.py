"""Several networks as one, against NumPy's computation of the same from the members' own answers."""

import keras
import numpy as np
import pytest

import zoo
from pipelines.datasets import load_dataset
from pipelines.errors import UsageError
from pipelines.networks import load_network
from pipelines.voting import CombinedVote, combine

SEED = 3


def tiny(input_shape=(28, 28, 1), classes=10):
    return zoo.create_model(
        "mnist_cnn_relu", "serving", input_shape=input_shape, classes=classes, filters=(3,), initialization="he_normal"
    )


@pytest.fixture(scope="module")
def members():
    """Three tiny networks, who have the same name and disagree."""
    networks = []
    for seed in (1, 2, 3):
        keras.utils.set_random_seed(seed)
        networks.append(tiny())
    return networks


@pytest.fixture(scope="module")
def images():
    """Pixels of real digits: untrained networks answer noise all alike."""
    return load_dataset("digits").validation.images.astype(np.float32)


def softmax(scores):
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def answers(members, images):
    """The members' probabilities: float64 [members, count, classes]."""
    return np.stack([softmax(member.predict(images, verbose=0).astype(np.float64)) for member in members])


def majority(probabilities):
    """For each example the class of most votes, of equal ones that of the largest mean.

    By comparing and not by arithmetic. `probabilities` are [members, count, classes]. Besides, int [count], how many
    classes have most votes; and bool [count], whether float32 can tell their means from each other.
    """
    winners, equals, clear = [], [], []
    for i in range(probabilities.shape[1]):
        votes = np.bincount(probabilities[:, i].argmax(axis=1), minlength=probabilities.shape[2])
        mean = probabilities[:, i].mean(axis=0)
        first, *others = sorted(range(len(votes)), key=lambda c: (votes[c], mean[c]), reverse=True)
        winners.append(first)
        equals.append((votes == votes.max()).sum())
        clear.append(equals[-1] == 1 or mean[first] - mean[others[0]] > 1e-5)
    return np.array(winners), np.array(equals), np.array(clear)


def test_the_mean_is_numpys(members, images):
    ensemble = combine(members, "mean", "together")
    expected = answers(members, images).mean(axis=0)
    np.testing.assert_allclose(np.exp(ensemble.predict(images, verbose=0)), expected, atol=1e-6)


def test_the_majority_is_numpys(members, images):
    probabilities = answers(members, images)
    winners, equals, clear = majority(probabilities)
    found = combine(members, "majority", "together").predict(images, verbose=0)
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], winners[clear])
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    # Or the test would say nothing about votes and about ties.
    assert (winners != probabilities.mean(axis=0).argmax(axis=1)).any()
    assert clear[equals > 1].any()


def test_ties_over_random_scores():
    """Two to five members of four classes: many rows have ties; some members are sure, half sure or undecided."""
    random = np.random.default_rng(SEED)
    for count in (2, 3, 4, 5):
        scores = random.normal(size=(count, 500, 4)) * random.choice([0.01, 1, 30], size=(count, 500, 1))
        scores = scores.astype(np.float32)
        winners, equals, clear = majority(softmax(scores.astype(np.float64)))
        assert clear[equals > 1].sum() > 20
        found = keras.ops.convert_to_numpy(CombinedVote("majority")(list(scores)))
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found.argmax(axis=1)[clear], winners[clear], err_msg=f"{SEED=}, {count} members")


def test_one_sure_member_does_not_outvote_two_unsure_ones():
    scores = [np.array([row], np.float32) for row in ([100.0, 0.0], [0.0, 0.1], [0.0, 0.1])]
    assert CombinedVote("mean")(scores).numpy().argmax() == 0
    assert CombinedVote("majority")(scores).numpy().argmax() == 1


def test_the_first_class_of_a_members_equal_ones_gets_its_vote():
    scores = [np.array([row], np.float32) for row in ([1.0, 1.0, 0.0], [0.0, 0.0, 5.0], [2.0, 0.0, 0.0])]
    assert CombinedVote("majority")(scores).numpy().argmax() == 0


def test_classes_that_nobody_thinks_possible_keep_finite_scores():
    scores = [np.array([[1000.0, 0.0, -1000.0]], np.float32)] * 3
    for vote in ("mean", "majority"):
        found = CombinedVote(vote)(scores).numpy()
        assert np.isfinite(found).all()
        assert list(np.argsort(-found[0])) == [0, 1, 2]


def test_half_precision_members_give_float32():
    scores = [np.array([[1.0, 2.0, 3.0]], np.float16)] * 2
    assert CombinedVote("mean")(scores).dtype == "float32"


@pytest.mark.parametrize("vote", ["mean", "majority"])
def test_saved_and_loaded(members, images, vote, tmp_path):
    ensemble = combine(members, vote, "together")
    ensemble.save(tmp_path / "together.keras")
    again = load_network(tmp_path / "together.keras")
    np.testing.assert_array_equal(again.predict(images, verbose=0), ensemble.predict(images, verbose=0))
    assert again.input.name == "image"
    assert [layer.name for layer in again.layers if isinstance(layer, keras.Model)] == [
        "member_1",
        "member_2",
        "member_3",
    ]


def test_members_that_do_not_fit_together(members):
    with pytest.raises(UsageError, match=r"answers with scores of the shape \(10,\), number 2 of \(4,\)"):
        combine([members[0], tiny(classes=4)], "mean", "together")
    with pytest.raises(UsageError, match=r"takes inputs of the shape \(28, 28, 1\), number 3 of \(10, 10, 1\)"):
        combine([*members[:2], tiny((10, 10, 1))], "mean", "together")
    with pytest.raises(UsageError, match="at least two members; received 1"):
        combine(members[:1], "mean", "together")
    with pytest.raises(ValueError, match="Received: vote='median'"):
        CombinedVote("median")
