"""Every layer against a plain computation of what its paper says, and through one shared check of its manners."""

import keras
import numpy as np
import pytest

from zoo import layers

RNG = np.random.default_rng(3)
IMAGE = RNG.normal(size=(2, 9, 8, 6)).astype("float32")
SIGNAL = RNG.normal(size=(2, 21, 3)).astype("float32")
VECTOR = RNG.normal(size=(2, 4)).astype("float32")
TABLE = [[0, 1], [2], [3, 4, 5]]

CASES = {
    "scaled_tanh": (layers.ScaledTanh, {"amplitude": 1.5, "slope": 0.5}, IMAGE),
    "partially_connected": (
        layers.PartiallyConnectedConv2D,
        {"table": TABLE, "kernel_size": 3, "activation": "relu"},
        IMAGE,
    ),
    "subsampling": (layers.TrainableSubsampling2D, {"activation": layers.ScaledTanh()}, IMAGE),
    "rbf": (layers.EuclideanRBF, {"codes": [[1, -1, 1, -1], [0, 0.5, 0, 1], [1, 1, 1, 1]]}, VECTOR),
    "local_response": (layers.LocalResponseNormalization, {"k": 1.0, "n": 3, "alpha": 0.5, "beta": 0.5}, IMAGE),
    "local_response_towers": (layers.LocalResponseNormalization, {"towers": 2}, IMAGE),
    "towers": (
        layers.TowerConv2D,
        {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        IMAGE,
    ),
    "towers_valid": (layers.TowerConv2D, {"filters": 6, "kernel_size": 3, "towers": 3}, IMAGE),
    "l2_pooling_1d": (layers.L2Pooling1D, {"pool_size": 3, "strides": 2, "padding": "same"}, SIGNAL),
    "l2_pooling_2d": (layers.L2Pooling2D, {"pool_size": 3, "strides": 2}, IMAGE),
    "weighted_pooling_1d": (layers.WeightedAveragePooling1D, {"pool_size": 4}, SIGNAL),
    "weighted_pooling_2d": (layers.WeightedAveragePooling2D, {"pool_size": 3, "padding": "same", "sigma": 0.7}, IMAGE),
    "unscaled_dropout": (layers.UnscaledDropout, {"rate": 0.25, "seed": 3}, IMAGE),
    "mlpconv": (layers.MLPConv2D, {"filters": [5, 4, 3], "kernel_size": 3, "strides": 2}, IMAGE),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    keras.utils.set_random_seed(5)
    return request.param


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_every_layer_has_a_case():
    public = [getattr(layers, name) for name in layers.__all__ if isinstance(getattr(layers, name), type)]
    kinds = {kind for kind in public if issubclass(kind, keras.layers.Layer)}
    assert kinds == {layer for layer, _, _ in CASES.values()}


def test_shapes_are_foretold(case):
    layer, arguments, x = case
    built = layer(**arguments)
    symbolic = built(keras.Input(x.shape[1:]))
    assert built(x).shape == (2, *symbolic.shape[1:]) == tuple(built.compute_output_shape(x.shape))


def test_sides_may_be_unknown(case):
    layer, arguments, x = case
    unknown = (*[None] * (x.ndim - 2), x.shape[-1])
    built = layer(**arguments)
    model = keras.Sequential([keras.Input(unknown), built])
    np.testing.assert_allclose(model.predict(x, verbose=0), array(built(x)), rtol=1e-4, atol=1e-5)


def test_config_makes_the_same_layer(case):
    layer, arguments, x = case
    first = layer(**arguments, name="first")
    expected = array(first(x))
    again = keras.layers.deserialize(keras.layers.serialize(first))
    assert type(again) is layer
    assert again.get_config() == first.get_config()
    again(x)
    again.set_weights(first.get_weights())
    np.testing.assert_array_equal(array(again(x)), expected)
    assert keras.saving.get_registered_name(layer) == f"conv_zoo>{layer.__name__}"  # what .keras files name it


def test_every_weight_trains(case):
    layer, arguments, x = case
    built = layer(**arguments)
    # The loss depends on every weight, whatever the layer's sign.
    model = keras.Sequential([keras.Input(x.shape[1:]), built, keras.layers.Flatten(), keras.layers.Dense(1)])
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.ones((2, 1)))
    for weight, old in zip(model.weights, before, strict=True):
        assert np.isfinite(array(weight)).all(), weight.path
        assert not np.array_equal(array(weight), old) or not weight.trainable, weight.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_is_close(case, policy):
    layer, arguments, x = case
    full = layer(**arguments)
    expected = array(full(x))
    half = layer(**arguments, dtype=policy)
    half.build(x.shape)
    half.set_weights(full.get_weights())
    outputs = half(keras.ops.cast(x, half.compute_dtype))
    assert keras.backend.standardize_dtype(outputs.dtype) == half.compute_dtype
    got = array(keras.ops.cast(outputs, "float32"))
    np.testing.assert_allclose(got, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: layers.ScaledTanh(amplitude=0), "Received: amplitude=0"),
        (lambda: layers.PartiallyConnectedConv2D([[0], []], 5), r"Received: table=\[\[0\], \[\]\]"),
        (lambda: layers.PartiallyConnectedConv2D([[0, 0]], 5), "different indices"),
        (lambda: layers.PartiallyConnectedConv2D([[0]], 0), "Received: kernel_size=0"),
        (lambda: layers.PartiallyConnectedConv2D([[6]], 3)(IMAGE), "6 maps, fewer than the table names"),
        (lambda: layers.TrainableSubsampling2D(0), "Received: pool_size=0"),
        (lambda: layers.EuclideanRBF([1.0, 2.0]), r"Received: codes of shape \(2,\)"),
        (lambda: layers.EuclideanRBF([[1.0, 2.0]])(VECTOR), "expected axis -1 of input shape to have value 2"),
        (lambda: layers.LocalResponseNormalization(n=4), "Received: n=4"),
        (lambda: layers.LocalResponseNormalization(k=0), "Received: k=0"),
        (lambda: layers.LocalResponseNormalization(towers=0), "Received: towers=0"),
        (lambda: layers.LocalResponseNormalization(towers=4)(IMAGE), "6 maps cannot be shared among 4 towers"),
        (lambda: layers.FanInUniform(0), "Received: limit=0"),
        (lambda: layers.TowerConv2D(2, (3, 3)), r"Received: kernel_size=\(3, 3\)"),
        (lambda: layers.TowerConv2D(2, 9)(IMAGE[:, :8]), r"smaller than a window of \(9, 9\)"),
        (lambda: layers.TowerConv2D(2, 3, kernel_initializer=None), "Received: kernel_initializer=None"),
        (lambda: layers.PartiallyConnectedConv2D(TABLE, 9)(IMAGE), r"smaller than a window of \(9, 9\)"),
        (lambda: layers.PartiallyConnectedConv2D(TABLE, 3, kernel_initializer=len), "Received: kernel_initializer="),
        (lambda: layers.L2Pooling2D((2, 2)), r"Received: pool_size=\(2, 2\)"),
        (lambda: layers.L2Pooling1D(2, strides=0), "Received: strides=0"),
        (lambda: layers.MLPConv2D("ab", 3), "Received: filters=a"),
        (lambda: layers.MLPConv2D([4, 4], 3, kernel_initializer=None), "Received: kernel_initializer=None"),
        (lambda: layers.TowerConv2D(5, 3), "Received: filters=5, towers=2"),
        (lambda: layers.TowerConv2D(4, 0), "Received: kernel_size=0"),
        (lambda: layers.TowerConv2D(4, 3, padding="full"), "Received: padding=full"),
        (lambda: layers.TowerConv2D(4, 3, towers=4)(IMAGE), "6 maps cannot be shared among 4 towers"),
        (lambda: layers.L2Pooling2D(2, padding="full"), "Received: padding=full"),
        (lambda: layers.WeightedAveragePooling2D(2, sigma=0), "Received: sigma=0"),
        (lambda: layers.MLPConv2D([5], 3), r"Received: filters=\[5\]"),
    ],
)
def test_a_bad_argument_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_scaled_tanh_is_its_formula_and_keeps_one_and_minus_one():
    np.testing.assert_allclose(array(layers.ScaledTanh()(IMAGE)), 1.7159 * np.tanh(2 / 3 * IMAGE), rtol=1e-5)
    np.testing.assert_allclose(array(layers.ScaledTanh()(np.array([-1.0, 0.0, 1.0]))), [-1, 0, 1], atol=1e-4)


def test_partial_connections_equal_one_convolution_per_pair():
    layer = layers.PartiallyConnectedConv2D(TABLE, 3, bias_initializer="random_normal")
    outputs = array(layer(IMAGE))
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 6)
    pair = 0
    for o, row in enumerate(TABLE):
        expected = np.full((2, 7, 6), bias[o])
        for i in row:
            for y in range(3):
                for x in range(3):
                    expected += kernel[y, x, pair] * IMAGE[:, y : y + 7, x : x + 6, i]
            pair += 1
        np.testing.assert_allclose(outputs[..., o], expected, rtol=1e-4, atol=1e-5)


def test_towers_do_not_see_each_other():
    layer = layers.TowerConv2D(4, 3, padding="same", bias_initializer="random_normal")
    outputs = array(layer(IMAGE))
    kernel, bias = layer.get_weights()
    assert kernel.shape == (3, 3, 3, 4)
    for tower, maps in enumerate((slice(0, 3), slice(3, 6))):
        own = slice(2 * tower, 2 * tower + 2)
        alone = keras.ops.conv(IMAGE[..., maps], kernel[..., own], padding="same")
        np.testing.assert_allclose(outputs[..., own], array(alone) + bias[own], rtol=1e-4, atol=1e-5)


def test_subsampling_is_coefficient_times_sum_plus_bias():
    layer = layers.TrainableSubsampling2D()
    layer.build(IMAGE.shape)
    coefficient, bias = np.arange(6) / 7, np.arange(6) - 2.5
    layer.set_weights([coefficient, bias])
    sums = IMAGE[:, :8].reshape(2, 4, 2, 4, 2, 6).sum(axis=(2, 4))
    np.testing.assert_allclose(array(layer(IMAGE)), sums * coefficient + bias, rtol=1e-4, atol=1e-5)


def test_rbf_is_the_squared_distance():
    codes = RNG.normal(size=(3, 4))
    layer = layers.EuclideanRBF(codes)
    expected = ((VECTOR[:, None] - codes.astype("float32")) ** 2).sum(axis=-1)
    np.testing.assert_allclose(array(layer(VECTOR)), expected, rtol=1e-5)
    assert not layer.trainable_weights


@pytest.mark.parametrize("towers", [1, 2])
def test_local_response_normalisation_is_the_papers_sum(towers):
    layer = layers.LocalResponseNormalization(k=2, n=5, alpha=0.1, beta=0.75, towers=towers)
    expected = np.empty_like(IMAGE)
    for i in range(6):
        first = i // (6 // towers) * (6 // towers)
        last = first + 6 // towers - 1
        neighbours = IMAGE[..., max(first, i - 2) : min(last, i + 2) + 1]
        expected[..., i] = IMAGE[..., i] / (2 + 0.1 * (neighbours**2).sum(axis=-1)) ** 0.75
    np.testing.assert_allclose(array(layer(IMAGE)), expected, rtol=1e-4)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kind", [layers.L2Pooling2D, layers.WeightedAveragePooling2D])
def test_pooling_of_every_window(kind, padding):
    layer = kind(3, strides=2, padding=padding)
    outputs = array(layer(IMAGE))
    counted = np.ones((9, 8))
    pads = [(1, 1), (0, 1)] if padding == "same" else [(0, 0), (0, 0)]
    x, counted = np.pad(IMAGE, [(0, 0), *pads, (0, 0)]), np.pad(counted, pads)
    axis = np.arange(3) - 1.0
    weights = np.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.5**2))
    for row in range(outputs.shape[1]):
        for column in range(outputs.shape[2]):
            here = (slice(2 * row, 2 * row + 3), slice(2 * column, 2 * column + 3))
            window, inside = x[:, *here], (counted[here] * weights)[..., None]
            l2 = np.sqrt((window**2).sum(axis=(1, 2)))
            average = (window * inside).sum(axis=(1, 2)) / inside.sum()
            expected = l2 if kind is layers.L2Pooling2D else average
            np.testing.assert_allclose(outputs[:, row, column], expected, rtol=1e-4, atol=1e-5)


def test_pooling_along_time():
    windows = np.stack([SIGNAL[:, first : first + 3] for first in range(0, 19, 2)], axis=1)
    l2 = layers.L2Pooling1D(3, strides=2)
    np.testing.assert_allclose(array(l2(SIGNAL)), np.sqrt((windows**2).sum(axis=2)), rtol=1e-4)
    weighted = layers.WeightedAveragePooling1D(3, strides=2, sigma=1.0)
    weights = np.exp([-0.5, 0.0, -0.5])
    expected = (windows * weights[:, None]).sum(axis=2) / weights.sum()
    np.testing.assert_allclose(array(weighted(SIGNAL)), expected, rtol=1e-4, atol=1e-6)


def test_l2_pooling_of_nothing_but_zeros_has_a_gradient_of_zero():
    """ReLU makes such windows common; the bare square root's gradient there is NaN."""
    dense = keras.layers.Dense(8, kernel_initializer="ones", activation="relu")
    model = keras.Sequential([keras.Input((2,)), dense, keras.layers.Reshape((8, 1)), layers.L2Pooling1D(4)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(-np.ones((1, 2)), np.ones((1, 2, 1)))
    np.testing.assert_array_equal(array(dense.kernel), np.ones((2, 8)))
    model.train_on_batch(np.ones((1, 2)), np.ones((1, 2, 1)))
    assert np.isfinite(array(dense.kernel)).all()
    assert (array(dense.kernel) != 1).all()


def test_mlpconv_is_a_convolution_and_1x1_convolutions_after_it():
    layer = layers.MLPConv2D([5, 4, 3], 3)
    outputs = array(layer(IMAGE))
    x = IMAGE
    for kernel, bias in zip(layer.get_weights()[::2], layer.get_weights()[1::2], strict=True):
        x = np.maximum(array(keras.ops.conv(x, kernel, padding="same")) + bias, 0)
    np.testing.assert_allclose(outputs, x, rtol=1e-4, atol=1e-5)
    assert [weights.shape for weights in layer.get_weights()[::2]] == [(3, 3, 6, 5), (1, 1, 5, 4), (1, 1, 4, 3)]


def test_unscaled_dropout_keeps_values_in_training_and_shrinks_all_otherwise():
    """Nielsen's network3.py: masks without rescaling, and (1 − p) at test time."""
    layer = layers.UnscaledDropout(0.25, seed=7)
    x = np.ones((100, 100), "float32")
    dropped = array(layer(x, training=True))
    assert set(np.unique(dropped)) == {0.0, 1.0}
    assert dropped.mean() == pytest.approx(0.75, abs=0.02)
    np.testing.assert_array_equal(array(layer(x, training=False)), 0.75 * x)
