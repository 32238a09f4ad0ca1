import pytest

import zoo


def test_the_ladder_is_listed_in_its_order():
    assert zoo.list_models("mnist_*") == [
        "mnist_fc",
        "mnist_cnn_conv1",
        "mnist_cnn_conv2",
        "mnist_cnn_relu",
        "mnist_cnn_dropout",
    ]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: zoo.create_model("mnist_cnn_rely"), "did you mean mnist_cnn_relu"),
        (lambda: zoo.get_spec("vgg"), r"Unknown network 'vgg'; expected one of mnist_fc, .*, speech_conv1d\.$"),
        (lambda: zoo.create_model("mnist_fc", unit=3), "no argument 'unit'; expected"),
        (lambda: zoo.create_model("mnist_fc", "served"), "no form 'served'"),
        (lambda: zoo.create_model("mnist_cnn_conv2", input_shape=(12, 12, 1)), r"12x12 pixels; the smallest is 16x16"),
        (
            lambda: zoo.create_model("mnist_cnn_conv2", pooling="medium"),
            "pooling is 'medium' in pool1; expected max, average, l2 or weighted",
        ),
        (lambda: zoo.create_model("mnist_cnn_conv2", dropout=1.0), "dropout is 1.0 in dropout1; expected a fraction"),
        (lambda: zoo.create_model("mnist_fc", classes=0), "a score for each class, 1 or more of them; received 0"),
        (lambda: zoo.create_model("mnist_fc", input_shape=28), "received the shape 28"),
        (lambda: zoo.create_model("mnist_fc", input_shape=(None, None, 1)), "received the shape"),
        (lambda: zoo.create_model("mnist_fc", input_shape=()), r"received the shape \(\)"),
        (lambda: zoo.create_model("alexnet_small", filters=(8, 8)), "alexnet_small takes 5 filters, .* received 2"),
        (lambda: zoo.create_model("lenet5", filters=(6, 16)), "lenet5 takes 3 filters"),
        (lambda: zoo.create_model("network_in_network", filters=()), "has 0 filters and 3 kernel_sizes"),
        (lambda: zoo.register_model("mnist_fc")(lambda: None), "registered already"),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(call, says):
    with pytest.raises(zoo.ZooError, match=says):
        call()


def test_the_smallest_input_builds():
    assert zoo.create_model("mnist_cnn_conv2", input_shape=(16, 16, 1)).get_layer("pool2").output.shape[1:3] == (1, 1)


def test_arguments_reach_the_network():
    model = zoo.create_model("mnist_cnn_conv1", filters=[3], dense_units=[], activation="relu")
    # The text's small example: 24x24 convolution pooled to 12x12, three filters, 432 inputs to ten outputs.
    assert model.get_layer("flatten").output.shape == (None, 432)
    assert model.count_params() == 3 * 26 + 432 * 10 + 10 == 4_408
