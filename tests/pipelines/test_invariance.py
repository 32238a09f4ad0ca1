import keras
import numpy as np
import pytest

from pipelines.errors import UsageError
from pipelines.invariance import (
    POOLINGS,
    relative_change,
    rotated,
    rotation_responses,
    shift_change,
    shifted,
    spread,
)

RANDOM = np.random.default_rng(7)


def identity(*shape):
    """A network whose map is its input."""
    values = keras.Input(shape)
    return keras.Model(values, keras.layers.Activation("linear")(values))


def blob(row, column, side=8):
    image = np.zeros((1, side, side, 1), np.float32)
    image[0, row, column] = 3.0
    return image


def test_relative_change_is_a_norm_over_a_norm():
    before = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    after = np.array([[3.0, 4.0], [2.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(relative_change(before, after), [0, np.sqrt(2), np.nan])


def test_a_shift_moves_by_one_and_repeats_the_border():
    image = np.arange(6.0).reshape(1, 2, 3, 1)
    np.testing.assert_array_equal(shifted(image, 2, 1)[0, ..., 0], [[0, 0, 1], [3, 3, 4]])
    np.testing.assert_array_equal(shifted(image, 2, -1)[0, ..., 0], [[1, 2, 2], [4, 5, 5]])
    np.testing.assert_array_equal(shifted(image, 1, -1)[0, ..., 0], [[3, 4, 5], [3, 4, 5]])


def test_a_constant_image_does_not_change():
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, padding="same", activation="relu")])
    image = np.full((2, 8, 8, 1), 80, np.float32)
    changes = shift_change(network, image)
    assert changes.unpooled == 0
    assert {change for sizes in changes.pooled.values() for change in sizes.values()} == {0}


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_blob_that_stays_inside_its_window_does_not_change_what_is_pooled(kind):
    changes = shift_change(identity(8, 8, 1), blob(1, 1))
    assert changes.unpooled == pytest.approx(np.sqrt(2))  # what was there is gone, what is there is new
    by_size = changes.pooled[kind]
    assert by_size[1] == pytest.approx(np.sqrt(2))
    assert by_size[2] == pytest.approx(np.sqrt(2) / 2)  # of four directions two leave the window
    assert by_size[4] == by_size[8] == 0


def test_in_a_signal_there_are_two_directions():
    signal = np.zeros((1, 8, 1), np.float32)
    signal[0, 1] = 1.0
    changes = shift_change(identity(8, 1), signal)
    assert changes.unpooled == pytest.approx(np.sqrt(2))
    assert changes.pooled["max"][2] == pytest.approx(np.sqrt(2) / 2)


def test_the_mean_is_over_all_examples_whatever_the_batch():
    images = np.concatenate([blob(1, 1), blob(2, 5), RANDOM.random((3, 8, 8, 1), np.float32)])
    whole, single = (shift_change(identity(8, 8, 1), images, batch_size) for batch_size in (5, 1))
    alone = [shift_change(identity(8, 8, 1), image[np.newaxis]).pooled["max"][2] for image in images]
    assert whole.pooled["max"][2] == pytest.approx(np.mean(alone))
    assert whole.unpooled == pytest.approx(single.unpooled)


def test_windows_are_at_most_as_large_as_the_map():
    assert set(shift_change(identity(5, 9, 1), RANDOM.random((1, 5, 9, 1))).pooled["l2"]) == {1, 2, 4}


def test_an_example_that_is_answered_with_zeros_is_left_out():
    images = np.concatenate([blob(1, 1), np.zeros((1, 8, 8, 1), np.float32)])
    assert shift_change(identity(8, 8, 1), images).unpooled == pytest.approx(np.sqrt(2))
    with pytest.raises(UsageError, match="answers every example with zeros"):
        shift_change(identity(8, 8, 1), images[1:])


def test_rotation_is_about_the_centre_and_counter_clockwise():
    image = RANDOM.random((9, 9, 3)).astype(np.float32)
    np.testing.assert_array_equal(rotated(image, 0), image)
    np.testing.assert_allclose(rotated(image, 90), np.rot90(image), atol=1e-5)
    np.testing.assert_allclose(rotated(image, 180), image[::-1, ::-1], atol=1e-5)


def test_spread():
    np.testing.assert_allclose(spread(np.array([[1.0, 2.0], [0.5, -2.0]])), [0.5, 2.0])


def bar(side=28):
    """A bright bar off the centre, which no rotation but the full one brings back."""
    image = np.zeros((side, side, 1), np.float32)
    image[4:14, 12:17] = 255
    return image


def test_a_maximum_over_rotated_detectors_answers_alike_to_all_rotations():
    found = rotation_responses(bar())
    angles = found.angles.tolist()
    at_their_own = [found.responses[angles.index(angle), i] for i, angle in enumerate(found.tuned_to)]
    np.testing.assert_allclose(at_their_own, 1, atol=1e-5)
    assert found.responses.max() <= 1 + 1e-5
    assert found.spread_of_maximum < 0.25
    assert found.spreads.min() > 1  # each falls below zero at some rotation
    assert found.spread_of_maximum == pytest.approx(1 - found.responses.max(axis=1).min(), abs=1e-5)


def test_more_detectors_answer_more_alike():
    few, many = (rotation_responses(bar(), detectors).spread_of_maximum for detectors in (4, 32))
    assert many < few / 2


def test_what_a_rotation_does_not_change_is_answered_alike_by_every_detector():
    axis = np.arange(28) - 13.5
    disc = (255 * np.exp(-(np.hypot(axis[:, None], axis) ** 2) / 40))[..., np.newaxis].astype(np.float32)
    np.testing.assert_allclose(rotation_responses(disc).responses, 1, atol=0.01)


def test_an_image_of_one_colour_has_no_rotations():
    with pytest.raises(UsageError, match="of one colour"):
        rotation_responses(np.zeros((8, 8, 3), np.float32))
