"""What a search would try is built before its first trial."""

import keras
import numpy as np
import pytest

from pipelines.datasets import Dataset, Split
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe
from pipelines.tuning import space as space_module
from pipelines.tuning.space import check_space

SMALL = {"network.arguments.filters": [2], "network.arguments.dense_units": [4], "augmentation": []}


@pytest.fixture(scope="module")
def data():
    split = Split(np.zeros((120, 28, 28, 1), np.uint8), np.arange(120) % 10)
    return Dataset("digits", split, split, split, tuple("0123456789"), "")


@pytest.fixture
def built(monkeypatch):
    """The arguments and input shapes of the networks that were built."""
    seen = []

    def build(recipe, data):
        seen.append((dict(recipe.network.arguments), data.input_shape))
        return build_network(recipe, data)

    build_network = space_module.build_network
    monkeypatch.setattr(space_module, "build_network", build)
    return seen


def searching(spaces, **others):
    return load_recipe("digits_cnn").override({**SMALL, **others, "search": spaces})


@pytest.mark.parametrize(
    ("spaces", "says"),
    [
        (
            {"network.arguments.pooling": ["max", "medium"]},
            r"pooling = \"medium\": pooling is 'medium' in pool1; expected",
        ),
        ({"network.arguments.filters": [[2], ["wide"]]}, r"filters = \[\"wide\"\]: mnist_cnn_dropout cannot be built"),
        ({"network.arguments.filters": [[2], [2, 2, 2, 2, 2]]}, r"received an input of 28x28 pixels"),
        ({"network.arguments.dropout": {"min": 0.2, "max": 1.0}}, r"dropout = 1.0: dropout is 1.0 in"),
        ({"network.arguments.dense_units": [[4], [4.5]]}, r"dense_units = \[4.5\]: .* cannot be built"),
        ({"network.arguments.kernel_size": {"min": 3.0, "max": 5.0}}, r"kernel_size = 3.63.*: .* cannot be built"),
        ({"network.arguments.wings": [1, 2]}, r"wings = 1: mnist_cnn_dropout has no argument 'wings'"),
        ({"network.arguments.classes": [10, 11]}, r"network.arguments.classes cannot be set"),
        ({"network.name": ["mnist_fc", "mnist_fcc"]}, r"network.name = \"mnist_fcc\": Unknown network"),
        ({"augmentation": [[], [{"step": "crop", "size": [40, 40]}]]}, r"augmentation = .*: .*augmentation.0.size"),
        ({"batch_size": {"min": 10, "max": 500}}, r"batch_size = 500: batch_size is 500; digits has 120 training"),
        (
            {
                "network.arguments.pooling": ["max", "average"],
                "network.arguments.kernel_size": {"choices": [5, 40], "when": {"network.arguments.pooling": "average"}},
            },
            r"network.arguments.pooling = \"average\" and network.arguments.kernel_size = 40: .* 28x28",
        ),
    ],
)
def test_what_cannot_be_built_is_one_sentence_before_anything_is_trained(spaces, says, data):
    with pytest.raises(UsageError, match=f"^The search space of digits_cnn: .*{says}") as raised:
        check_space(searching(spaces), data)
    assert "\n" not in str(raised.value)


def test_each_network_is_built_once(data, built):
    spaces = {
        "network.arguments.pooling": ["max", "average"],
        "network.arguments.dropout": {"min": 0.0, "max": 0.6, "step": 0.3},
        "optimizer.learning_rate": {"min": 1e-3, "max": 1e-2},
        "batch_size": [10, 20],
    }
    check_space(searching(spaces, **{"network.arguments.dropout": 0.3}), data)
    tried = [(arguments.get("pooling"), arguments["dropout"]) for arguments, _ in built]
    assert tried == [(None, 0.3), ("max", 0.3), ("average", 0.3), (None, 0.0), (None, 0.6)]


def test_a_network_is_built_for_what_a_searched_crop_shows_it(data, built):
    crops = [{"step": "crop", "size": [24, 24]}]
    spaces = {"augmentation.0.size": [[24, 24], [20, 20], [4, 4]]}
    with pytest.raises(UsageError, match=r"augmentation.0.size = \[4, 4\]: .* an input of 4x4 pixels"):
        check_space(searching(spaces, augmentation=crops), data)
    assert [shape for _, shape in built] == [(24, 24, 1), (20, 20, 1), (4, 4, 1)]


def test_whole_numbers_are_built_as_trials_have_them(data, built):
    check_space(searching({"network.arguments.kernel_size": {"min": 3.0, "max": 5.0, "step": 2.0}}), data)
    assert [arguments.get("kernel_size") for arguments, _ in built] == [None, 3, 5]
    assert all(not isinstance(arguments.get("kernel_size"), float) for arguments, _ in built)


def test_nothing_is_left_behind(data):
    check_space(searching({"network.arguments.pooling": ["max", "average"]}), data)
    assert keras.Sequential().name == "sequential"


def test_signals_have_no_augmentation_to_search_over():
    split = Split(np.zeros((80, 1000, 1), np.float32), np.arange(80) % 2)
    sounds = Dataset("speech_clips", split, split, split, ("noise", "speech"), "")
    recipe = load_recipe("speech_conv1d").override(
        {"batch_size": 16, "search": {"network.arguments.pool_size": [2, 4]}}
    )
    check_space(recipe, sounds)
    with pytest.raises(UsageError, match=r"augmentation = .*: The augmentation step 'shift' is for images"):
        check_space(recipe.override({"search": {"augmentation": [[], [{"step": "shift", "pixels": 1}]]}}), sounds)
