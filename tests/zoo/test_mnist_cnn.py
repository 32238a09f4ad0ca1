import numpy as np
import pytest

import zoo


@pytest.mark.parametrize("name", zoo.list_models("mnist_*"))
def test_black_is_zero_and_white_is_one(name):
    scale = zoo.create_model(name).get_layer("scale")
    np.testing.assert_allclose(scale(np.array([[0.0, 51.0, 255.0]], "float32")), [[0.0, 0.2, 1.0]], rtol=1e-6)


def test_the_paper_starts_from_its_own_distributions():
    model = zoo.create_model("mnist_cnn_dropout")
    kernel, bias = model.get_layer("dense2").get_weights()
    assert kernel.std() == pytest.approx(1000**-0.5, rel=0.02)
    assert bias.std() == pytest.approx(1.0, rel=0.1)
    # 20 maps of 5x5 weights, seen through a pooling of 2x2: n_out is 125.
    assert model.get_layer("conv1").get_weights()[0].std() == pytest.approx(125**-0.5, rel=0.15)
    assert not model.get_layer("scores").get_weights()[0].any()


def test_other_initialisers_go_by_their_keras_names():
    model = zoo.create_model("mnist_cnn_relu", initialization="he_normal")
    assert not model.get_layer("dense1").get_weights()[1].any()
    assert model.get_layer("scores").get_weights()[0].any()


def test_dropout_sits_before_each_dense_layer_and_only_in_training():
    model = zoo.create_model("mnist_cnn_dropout")
    names = [layer.name for layer in model.layers]
    for before, after in (("dropout1", "dense1"), ("dropout2", "dense2"), ("dropout_scores", "scores")):
        assert names.index(after) == names.index(before) + 1
    image = np.full((1, 28, 28, 1), 99, "float32")
    np.testing.assert_array_equal(model(image, training=False), model(image, training=False))
