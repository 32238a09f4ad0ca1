from collections import Counter

import numpy as np
import pytest

import zoo
from zoo.layers import digit_codes
from zoo.lenet5 import C3_TABLE


@pytest.fixture(scope="module")
def model():
    return zoo.create_model("lenet5")


def test_pixels_are_padded_and_scaled_as_in_the_paper(model):
    image = np.zeros((1, 28, 28, 1), "float32")
    image[:, 10, 10] = 255
    scaled = np.asarray(zoo.features(model, ["scale"])(image)["scale"])
    assert scaled.shape == (1, 32, 32, 1)
    assert scaled.min() == pytest.approx(-0.1)
    assert scaled[0, 12, 12, 0] == pytest.approx(1.175)


def test_c3_sees_each_map_of_s2_ten_times(model):
    c3 = model.get_layer("c3")
    assert Counter(i for row in c3.table for i in row) == dict.fromkeys(range(6), 10)
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert c3.count_params() == 1_516


def test_weights_start_within_the_papers_bounds(model):
    """Uniform up to 2.4 over the inputs of a unit, which in C3 differ from map to map."""
    for name, fan_in in (("c1", 25), ("c5", 400), ("f6", 120)):
        kernel = model.get_layer(name).get_weights()[0]
        assert 0.8 * 2.4 / fan_in < np.abs(kernel).max() <= 2.4 / fan_in
    kernel, pair = model.get_layer("c3").get_weights()[0], 0
    drawn = set()
    for row in C3_TABLE:
        own = kernel[..., pair : pair + len(row)]
        assert 0.8 * 2.4 / (25 * len(row)) < np.abs(own).max() <= 2.4 / (25 * len(row))
        drawn.add(own.tobytes())
        pair += len(row)
    assert len(drawn) == 16


def test_other_initialisers_see_the_inputs_of_a_unit():
    kernel = zoo.create_model("lenet5", initialization="he_normal").get_layer("c3").get_weights()[0]
    assert kernel[..., -6:].std() == pytest.approx((2 / 150) ** 0.5, rel=0.15)
    assert kernel[..., :18].std() == pytest.approx((2 / 75) ** 0.5, rel=0.15)


def test_the_codes_are_those_of_the_figure():
    codes = digit_codes()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1, 1}
    drawn = ["".join("#" if pixel > 0 else "." for pixel in row) for row in codes[1].reshape(12, 7)]
    assert drawn[:4] == ["...##..", "..###..", ".####..", "...##.."]
    distances = ((codes[:, None] - codes[None]) ** 2).sum(axis=-1)
    assert (distances[~np.eye(10, dtype=bool)] >= 4 * 8).all()  # any two digits differ in eight pixels at least


def test_the_score_is_the_negative_distance_to_the_code(model):
    image = np.random.default_rng(0).uniform(0, 255, (3, 28, 28, 1)).astype("float32")
    found = zoo.features(model, ["f6", "scores"])(image)
    distances = ((np.asarray(found["f6"])[:, None] - digit_codes()) ** 2).sum(axis=-1)
    np.testing.assert_allclose(found["scores"], -distances, rtol=1e-5)
    assert not model.get_layer("output").trainable_weights


def test_other_numbers_of_maps_are_connected_in_full():
    wide = zoo.create_model("lenet5", filters=(8, 12, 40), dense_units=30, pooling="max", initialization="he_normal")
    assert wide.get_layer("c3").count_params() == 25 * 8 * 12 + 12
    assert wide.get_layer("output").get_weights()[0].shape == (10, 30)


def test_a_larger_image_has_more_of_c5():
    assert zoo.create_model("lenet5", input_shape=(32, 36, 1)).get_layer("c5").output.shape == (None, 2, 3, 120)
