import functools

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.anatomy import (
    Cost,
    anatomy,
    dense_matrix,
    dense_operations,
    features,
    group,
    im2col,
    register_cost,
    register_field,
    totals,
)
from zoo.layers import (
    EuclideanRBF,
    L2Pooling2D,
    LocalResponseNormalization,
    MLPConv2D,
    PartiallyConnectedConv2D,
    TrainableSubsampling2D,
    WeightedAveragePooling2D,
)


def small(name):
    return zoo.create_model(name, **zoo.get_spec(name).small)


small_to_read = functools.cache(small)  # for tests that leave the model as it is: building takes seconds on JAX


def stack(input_shape, *stack_of_layers):
    """A model of layers one after the other."""
    x = image = keras.Input(input_shape)
    for layer in stack_of_layers:
        x = layer(x)
    return keras.Model(image, x)


def by_name(model):
    return {row.name: row for row in anatomy(model)}


# Every network of the zoo.


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_network_has_an_anatomy(name):
    model = small_to_read(name)
    rows, side = anatomy(model), model.input.shape[1:-1]
    assert [row.name for row in rows] == [layer.name for layer in model.layers[1:]]
    sums = totals(rows)
    assert sums.parameters == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert sums.parameters + sums.fixed_parameters == model.count_params()
    assert sums.operations == sums.multiplications + sums.additions == sum(row.operations for row in rows)
    for row in rows:
        assert row.output_shape == model.get_layer(row.name).output.shape[1:]
        # Every weight of an example's pass is used at least once.
        assert row.connections >= row.parameters
        assert all(1 <= seen <= whole for seen, whole in zip(row.receptive_field, side, strict=True))


# The papers' own counts.


def test_lenet5_has_the_paper_s_counts_layer_by_layer():
    rows = anatomy(zoo.create_model("lenet5"))
    table = {row.name: (row.output_shape, row.parameters, row.connections) for row in rows if row.connections}
    assert table == {
        "c1": ((28, 28, 6), 156, 122_304),
        "s2": ((14, 14, 6), 12, 5_880),
        "c3": ((10, 10, 16), 1_516, 151_600),
        "s4": ((5, 5, 16), 32, 2_000),
        "c5": ((1, 1, 120), 48_120, 48_120),
        "f6": ((84,), 10_164, 10_164),
        "output": ((10,), 0, 840),
    }
    assert totals(rows).connections == 340_908
    assert totals(rows).parameters == 60_000
    assert totals(rows).fixed_parameters == 840
    fields = {row.name: row.receptive_field[0] for row in rows}
    # A unit of C5 sees 32x32 padded pixels: the whole image of 28x28.
    assert [fields[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6")] == [5, 6, 14, 16, 28, 28]


def test_alexnet_has_the_counts_of_its_two_towers():
    rows = by_name(zoo.create_model("alexnet"))
    assert {name: row.parameters for name, row in rows.items() if row.parameters} == {
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "scores": 4_097_000,
    }
    assert totals(rows.values()).parameters == 60_965_224
    # The paper: neurons are joined to those of one tower only, so that conv2 has half of 27·27·256·5·5·96 products.
    assert rows["conv2"].multiplications == 27 * 27 * 256 * 5 * 5 * 48
    assert [rows[name].receptive_field for name in ("conv1", "pool1", "conv5", "pool5", "fc6")] == [
        (11, 11),
        (19, 19),
        (163, 163),
        (195, 195),
        (227, 227),
    ]


def test_inception_v1_costs_what_the_paper_s_table_says():
    """Table 1's column 'ops' counts multiplications. Its 54M of 5a (like its 1072K parameters) do not follow from its
    own filters of 5a, which cost 51.1M; every other module agrees as far as the table's digits go."""
    printed = {"3a": 128, "3b": 304, "4a": 73, "4b": 88, "4c": 100, "4d": 119, "4e": 170, "5b": 71}
    stages = [f"inception_{module}" for module in (*printed, "5a")]
    rows = group(anatomy(zoo.create_model("inception_v1", "serving")), stages)
    merged = {row.name: row for row in rows}
    for module, millions in printed.items():
        assert merged[f"inception_{module}"].multiplications / 1e6 == pytest.approx(millions, abs=0.9), module
    assert merged["inception_5a"].multiplications == 51_079_168
    assert merged["inception_3a"].output_shape == (28, 28, 256)
    assert merged["inception_3a"].kind == "Concatenate"
    # 22 layers with parameters deep: three convolutions, two in each of nine modules, the scores.
    assert len([row for row in rows if row.parameters]) == 3 + 9 + 1


# The counts that the classics are taught with.


def test_shared_weights_are_few():
    one, twenty = (by_name(stack((28, 28, 1), layers.Conv2D(n, 5, name="conv")))["conv"] for n in (1, 20))
    hidden = by_name(stack((784,), layers.Dense(30, name="hidden")))["hidden"]
    assert (one.parameters, twenty.parameters, hidden.parameters) == (26, 520, 23_550)
    assert round(hidden.parameters / twenty.parameters) == 45
    # Each of the 24x24 positions repeats the same 26 weights.
    assert one.connections == 24 * 24 * 26
    assert hidden.connections == hidden.parameters


def test_edge_detection_by_convolution_and_by_matrix():
    """Goodfellow et al., Deep Learning, section 9.2 and figure 9.6: each pixel less its neighbour on the left."""
    edges = layers.Conv2D(1, (1, 2), use_bias=False, name="edges")
    model = stack((280, 320, 1), edges)
    edges.set_weights([np.array([-1.0, 1.0], "float32").reshape(1, 2, 1, 1)])
    image = np.random.default_rng(0).uniform(size=(1, 280, 320, 1)).astype("float32")
    np.testing.assert_allclose(model(image), image[:, :, 1:] - image[:, :, :-1], atol=1e-6)

    row = by_name(model)["edges"]
    assert row.output_shape == (280, 319, 1)
    assert row.operations == 319 * 280 * 3 == 267_960
    multiplications, additions = dense_operations(edges, (280, 320, 1))
    assert multiplications == 320 * 280 * 319 * 280 > 8e9  # as many as the matrix has entries
    assert multiplications + additions > 16e9
    assert round((multiplications + additions) / row.operations, -4) == 60_000


@pytest.mark.parametrize(
    ("layer", "shape", "connections", "multiplications", "additions"),
    [
        (layers.Conv1D(4, 3, use_bias=False), (10, 2), 8 * 4 * 6, 8 * 4 * 6, 8 * 4 * 5),
        (layers.Conv2D(4, 3, strides=2, padding="same", groups=2), (5, 5, 6), 9 * 4 * 28, 9 * 4 * 27, 9 * 4 * 27),
        (layers.Dense(3), (5, 7), 5 * 3 * 8, 5 * 3 * 7, 5 * 3 * 7),
        (layers.MaxPooling2D(3, 2), (7, 7, 2), 9 * 2 * 9, 0, 0),
        (layers.AveragePooling1D(4), (8, 2), 2 * 2 * 4, 2 * 2, 2 * 2 * 3),
        (layers.GlobalAveragePooling2D(), (4, 5, 3), 60, 3, 3 * 19),
        (layers.GlobalMaxPooling1D(), (6, 3), 18, 0, 0),
        (L2Pooling2D(2), (4, 4, 3), 12 * 4, 12 * 4, 12 * 3),
        (WeightedAveragePooling2D(3, 1, padding="same"), (4, 4, 3), 48 * 9, 48 * 9, 48 * 8),
        (TrainableSubsampling2D(2, activation="tanh"), (4, 4, 3), 12 * 5, 12, 12 * 4),
        (EuclideanRBF(np.ones((10, 84))), (84,), 840, 840, 10 * (84 + 83)),
        (LocalResponseNormalization(n=5), (2, 2, 8), 32 * 5, 32 * 3, 32 * 5),
        (PartiallyConnectedConv2D([[0], [0, 1]], 3), (4, 4, 2), 4 * (10 + 19), 4 * 27, 4 * 27),
        (MLPConv2D((4, 5), 3), (6, 6, 2), 36 * (4 * 19 + 5 * 5), 36 * (4 * 18 + 5 * 4), 36 * (4 * 18 + 5 * 4)),
        (layers.Rescaling(1 / 255), (4, 4, 1), 0, 16, 0),
        (layers.Rescaling(1 / 127.5, offset=-1), (4, 4, 1), 0, 16, 16),
        (layers.Rescaling(-1.0), (10,), 0, 0, 0),
        (layers.BatchNormalization(), (4, 4, 2), 0, 32, 32),
        (layers.LeakyReLU(), (4, 4, 2), 0, 0, 0),
        (layers.Dropout(0.5), (4,), 0, 0, 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_a_layer_s_cost_is_its_formula_s(layer, shape, connections, multiplications, additions):
    (row,) = anatomy(stack(shape, layer))
    assert (row.connections, row.multiplications, row.additions) == (connections, multiplications, additions)


def test_branches_are_added_value_by_value():
    image = keras.Input((4, 4, 2))
    row = anatomy(keras.Model(image, layers.Add()([layers.ReLU()(image), layers.ReLU()(image), image])))[-1]
    assert (row.connections, row.multiplications, row.additions) == (0, 0, 64)


def test_weights_that_training_leaves_alone_are_counted_apart():
    model = zoo.create_model("mnist_cnn_conv1")
    model.get_layer("conv1").trainable = False
    row = by_name(model)["conv1"]
    assert (row.parameters, row.fixed_parameters) == (0, 520)


# Stages.


def test_stages_merge_their_layers():
    rows = anatomy(small_to_read("inception_v1_small"))
    names = [row.name for row in rows]
    stage = next(name for name in names if name.startswith("inception_") and name.count("_") == 1)
    members = [row for row in rows if row.name == stage or row.name.startswith(f"{stage}_")]
    assert len(members) > 4
    merged = group(rows, [stage])
    assert len(merged) == len(rows) - len(members) + 1
    (row,) = (row for row in merged if row.name == stage)
    assert merged.index(row) == names.index(members[0].name)
    assert row.parameters == sum(member.parameters for member in members) > 0
    assert row.operations == sum(member.operations for member in members)
    whole = by_name(small_to_read("inception_v1_small"))[stage]
    assert (row.kind, row.output_shape, row.receptive_field) == (whole.kind, whole.output_shape, whole.receptive_field)
    assert totals(merged) == totals(rows)


def test_the_longer_of_two_stages_takes_a_layer_and_the_last_layer_stands_for_a_stage_without_its_own():
    names = ("conv2_reduce", "conv2", "head_conv", "head_scores", "other")
    rows = anatomy(stack((8, 8, 1), *(layers.Conv2D(2, 2, name=name) for name in names)))
    merged = group(rows, ["conv2", "conv2_reduce", "head"])
    assert [row.name for row in merged] == ["conv2_reduce", "conv2", "head", "other"]
    assert [row.parameters for row in merged] == [10, 18, 36, 18]
    assert merged[2].output_shape == rows[3].output_shape
    assert group(rows, []) == rows


# Endpoints.


def test_features_are_the_layers_outputs():
    model = zoo.create_model("mnist_cnn_relu", initialization="he_normal")
    images = np.random.default_rng(1).uniform(0, 255, (2, 28, 28, 1)).astype("float32")
    found = features(model, ["conv1", "pool2", "scores"])(images)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "conv1": (2, 24, 24, 20),
        "pool2": (2, 4, 4, 40),
        "scores": (2, 10),
    }
    np.testing.assert_allclose(found["scores"], model(images), rtol=1e-6)
    kernel, bias = model.get_layer("conv1").get_weights()
    by_hand = np.einsum("nab,abf->nf", images[:, 3:8, 4:9, 0] / 255, kernel[:, :, 0]) + bias
    np.testing.assert_allclose(found["conv1"][:, 3, 4], np.maximum(by_hand, 0), atol=1e-5)


def test_one_endpoint_is_given_as_it_is_and_shares_the_weights():
    model = zoo.create_model("mnist_cnn_relu")
    endpoint = features(model, "pool1")
    images = np.full((1, 28, 28, 1), 200, "float32")
    kernel, bias = model.get_layer("conv1").get_weights()
    model.get_layer("conv1").set_weights([kernel * 0, bias * 0 + 2])
    np.testing.assert_array_equal(endpoint(images), np.full((1, 12, 12, 20), 2.0))


# What the anatomy cannot read is said in one sentence.


class Unknown(layers.Layer):
    """Has a weight, halves the first axis, and no rule knows it."""

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")

    def call(self, inputs):
        return self.gain * inputs[:, ::2]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], (input_shape[1] + 1) // 2, *input_shape[2:])


def called_twice():
    image, layer = keras.Input((4, 4, 1)), layers.Conv2D(1, 1, name="shared")
    return keras.Model(image, layers.ReLU(name="after")(layer(layer(image))))


def one_above_the_other():
    image = keras.Input((4, 4, 1))
    return keras.Model(image, layers.Concatenate(axis=1, name="rows")([image, layers.ReLU()(image)]))


def of_two_inputs():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(inputs, layers.Add()(inputs), name="pair")


def built_convolution():
    layer = layers.Conv2D(1, 2, name="built")
    layer.build((None, 4, 4, 1))
    return layer


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: anatomy(stack((8, 2), Unknown(name="odd"))), r"'odd' of kind Unknown costs.*@register_cost"),
        (lambda: anatomy(stack((4, 4, 1), layers.UpSampling2D(name="up"))), "'up' of kind UpSampling2D costs"),
        (lambda: anatomy(stack((4, 4, 1), layers.Permute((2, 1, 3), name="turn"))), "'turn' of kind Permute costs"),
        (lambda: anatomy(one_above_the_other()), "'rows' joins along axis 1"),
        (lambda: anatomy(called_twice()), "called twice"),
        (lambda: anatomy(of_two_inputs()), "'pair' is no network with one input"),
        (lambda: anatomy("lenet5"), "'lenet5' is no network"),
        (lambda: anatomy(stack((None, None, 1), layers.Conv2D(1, 3, name="c"))), "'.*' has no fixed shape"),
        (lambda: group(anatomy(zoo.create_model("mnist_fc")), ["dense"]), "stage 'dense'; the layers are"),
        (lambda: features(zoo.create_model("mnist_fc"), "dense_1"), "no endpoint 'dense_1'; did you mean 'dense1'"),
        (lambda: features(zoo.create_model("mnist_fc"), ["scale", "pool"]), r"no endpoint 'pool'; expected one of \["),
        (lambda: features(zoo.create_model("mnist_fc"), []), "name one or more"),
        (lambda: im2col(layers.Dense(2, name="d"), np.zeros((1, 4))), "'d' is of kind Dense; only Conv1D"),
        (lambda: dense_operations(layers.MaxPooling2D(name="p"), (4, 4, 1)), "only Conv1D"),
        (lambda: im2col(layers.Conv2D(1, 2, name="c"), np.zeros((1, 4, 4, 1))), "'c' has no weights yet"),
        (lambda: im2col(built_convolution(), np.zeros((1, 4, 4, 3))), "'built' takes 1 maps; received 3"),
        (
            lambda: dense_matrix(built_convolution(), (4, 1)),
            "'built' takes an input of height, width and maps; received",
        ),
        (
            lambda: dense_matrix(layers.Conv2D(1, (1, 2), name="c"), (280, 320, 1)),
            "would have 8,003,072,000 entries; .* dense_operations",
        ),
        (
            lambda: im2col(layers.Conv2D(1, 2, data_format="channels_first", name="c"), np.zeros((1, 1, 4, 4))),
            "'c' has data_format 'channels_first'",
        ),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(call, says):
    with pytest.raises(zoo.ZooError, match=says):
        call()


def test_a_layer_of_one_s_own_brings_its_rules():
    class Halved(Unknown):
        pass

    model = stack((8, 4, 2), layers.Conv2D(2, 3, padding="same"), Halved(name="half"))

    @register_cost(Halved)
    def _halved(layer, inputs, output):
        assert inputs == ((8, 4, 2),)
        return Cost(connections=32, multiplications=32)

    with pytest.raises(zoo.ZooError, match=r"'half' of kind Halved sees.*@register_field"):
        anatomy(model)

    @register_field(Halved)
    def _every_other(layer, inputs, output):
        rows, columns = inputs[0]
        return (rows.at(range(0, 8, 2)), columns)

    row = by_name(model)["half"]
    assert (row.connections, row.operations, row.parameters) == (32, 32, 1)
    assert row.receptive_field == (3, 3)
