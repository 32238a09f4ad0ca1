"""What each network's paper says of it beyond its counts."""

import keras
import numpy as np
import pytest

import zoo
from zoo.inception import FILTERS, inception_module


def layer_names(model):
    return [layer.name for layer in model.layers]


def test_alexnet_normalises_after_relu_and_pools_with_overlap():
    model = zoo.create_model("alexnet", **zoo.get_spec("alexnet").small)
    names = layer_names(model)
    assert names[names.index("conv1") :][:6] == ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2"]
    for pool in ("pool1", "pool2", "pool5"):
        layer = model.get_layer(pool)
        assert (layer.pool_size, layer.strides) == ((3, 3), (2, 2))
    assert [model.get_layer(f"conv{i}").towers for i in (2, 3, 4, 5)] == [2, 1, 2, 2]
    norm = model.get_layer("norm1")
    assert (norm.k, norm.n, norm.alpha, norm.beta) == (2, 5, 1e-4, 0.75)


def test_alexnets_towers_meet_in_conv3_only():
    """What the second half of conv1's maps holds changes nothing in the first half of conv2's."""
    model = zoo.create_model("alexnet", **zoo.get_spec("alexnet").small)
    model.get_layer("conv1").bias.assign(np.ones(8))
    image = np.random.default_rng(0).uniform(0, 255, (1, 67, 67, 3)).astype("float32")
    look = zoo.features(model, ["conv2", "conv3"])
    before = {name: np.asarray(keras.ops.convert_to_numpy(maps)) for name, maps in look(image).items()}
    model.get_layer("conv1").bias.assign([1, 1, 1, 1, 9, 9, 9, 9])
    after = {name: np.asarray(keras.ops.convert_to_numpy(maps)) for name, maps in look(image).items()}
    np.testing.assert_array_equal(after["conv2"][..., :8], before["conv2"][..., :8])
    assert (after["conv2"][..., 8:] != before["conv2"][..., 8:]).any()
    assert (after["conv3"] != before["conv3"])[..., :12].any()


def test_alexnet_starts_as_the_paper_says():
    model = zoo.create_model("alexnet", **zoo.get_spec("alexnet").small)
    for name, bias in {"conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1}.items():
        weights = model.get_layer(name).get_weights()
        assert weights[0].std() == pytest.approx(0.01, rel=0.1)
        assert (weights[1] == bias).all(), name


def test_alexnets_shapes_at_the_papers_width():
    model = zoo.create_model("alexnet")
    shapes = {name: model.get_layer(name).output.shape[1:] for name in ("conv1", "pool1", "pool2", "conv5", "pool5")}
    assert shapes == {
        "conv1": (55, 55, 96),
        "pool1": (27, 27, 96),
        "pool2": (13, 13, 256),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
    }
    neurons = sum(int(np.prod(model.get_layer(f"conv{i}").output.shape[1:])) for i in range(1, 6)) + 2 * 4096 + 1000
    assert neurons == 659_272


def test_a_small_alexnet_without_normalisation():
    assert "norm1" not in layer_names(zoo.create_model("alexnet_small", normalization=False))


@pytest.mark.parametrize(("module", "branches"), [("naive", [4, 8, 2, 10]), ("reduced", [4, 8, 2, 3])])
def test_the_inception_module_joins_four_branches(module, branches):
    x = keras.Input((8, 8, 10))
    out = inception_module(x, (4, 5, 8, 1, 2, 3), module=module, name="module", initialization="he_normal")
    model = keras.Model(x, out)
    joined = model.get_layer("module").input
    assert [branch.shape[-1] for branch in joined] == branches
    assert out.shape == (None, 8, 8, sum(branches))
    reductions = [name for name in layer_names(model) if "reduce" in name or "projection" in name]
    assert len(reductions) == (3 if module == "reduced" else 0)


def test_an_unknown_module_is_an_error():
    with pytest.raises(zoo.ZooError, match="module is 'full' in inception_3a; expected naive or reduced"):
        zoo.create_model("inception_v1_small", module="full")


def test_dimension_reduction_is_what_makes_inception_cheap():
    naive, reduced = (zoo.create_model("inception_v1_small", module=module) for module in ("naive", "reduced"))
    assert naive.count_params() > 6 * reduced.count_params()


def test_inception_v1_is_22_layers_deep():
    """Counted along the longest way, layers with parameters only."""
    model = zoo.create_model("inception_v1", "serving")
    depth = {}
    for layer in model.layers:
        before = [depth[k._keras_history.operation.name] for k in keras.tree.flatten(layer.input) if depth]
        depth[layer.name] = max(before, default=0) + bool(layer.weights)
    assert depth["scores"] == 22


def test_inception_v1_at_the_papers_width():
    model = zoo.create_model("inception_v1")
    assert layer_names(model).count("scores") == 1
    assert [output.shape for output in model.outputs] == [(None, 1000)] * 3
    assert model.get_layer("auxiliary_4a_pool").output.shape == (None, 4, 4, 512)
    assert model.get_layer("auxiliary_4d_pool").output.shape == (None, 4, 4, 528)
    for stage, filters in FILTERS.items():
        assert (
            model.get_layer(f"inception_{stage}").output.shape[-1] == filters[0] + filters[2] + filters[4] + filters[5]
        )
    assert model.get_layer("pool5").input.shape == (None, 7, 7, 1024)


def test_all_of_inception_v1s_losses_fall_on_a_small_batch():
    keras.utils.set_random_seed(2)
    spec = zoo.get_spec("inception_v1")
    model = zoo.create_model("inception_v1", **spec.small, dropout=0.0, auxiliary_dropout=0.0)
    x = np.random.default_rng(0).uniform(0, 255, (8, *model.input.shape[1:])).astype("float32")
    y = [np.arange(8)] * 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = [1.0, spec.auxiliary_weight, spec.auxiliary_weight]
    assert weights == [1.0, 0.3, 0.3]
    model.compile(keras.optimizers.Adam(1e-3), [loss] * 3, loss_weights=weights)
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=40, batch_size=8, verbose=0)
    after = model.evaluate(x, y, verbose=0)
    total, *parts = after
    assert total == pytest.approx(np.dot(weights, parts[:3]), rel=1e-4)
    assert after[0] < 0.8 * before[0], (before, after)
    assert all(now < 0.95 * then for now, then in zip(after[:4], before[:4], strict=True)), (before, after)


def test_network_in_network_has_no_dense_layer():
    model = zoo.create_model("network_in_network")
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert model.get_layer("mlpconv3").output.shape == (None, 8, 8, 10)


def test_the_speech_network_takes_a_signal():
    spec = zoo.get_spec("speech_conv1d")
    assert spec.input == "signal"
    model = zoo.create_model("speech_conv1d", filters=[4], dense_units=[], pooling="l2")
    assert layer_names(model) == ["signal", "conv1", "pool1", "flatten", "scores"]


@pytest.mark.parametrize("name", zoo.list_models())
def test_the_initialiser_reaches_every_kernel(name):
    model = zoo.create_model(name, "training", **zoo.get_spec(name).small, initialization="ones")
    for weight in model.trainable_weights:
        assert weight.name != "kernel" or (keras.ops.convert_to_numpy(weight) == 1).all(), weight.path


@pytest.mark.parametrize("name", ["mnist_cnn_relu", "lenet5", "alexnet_small", "inception_v1_small", "speech_conv1d"])
@pytest.mark.parametrize("pooling", ["max", "average", "l2", "weighted"])
def test_every_network_pools_as_it_is_told(name, pooling):
    model = zoo.create_model(name, **{**zoo.get_spec(name).small, "pooling": pooling})
    layer = model.get_layer("s2" if name == "lenet5" else "pool1")
    assert type(layer).__name__.lower().startswith("weightedaverage" if pooling == "weighted" else pooling)
