import random

import keras_tuner
import numpy as np
import pytest

from pipelines.datasets import Dataset, Split
from pipelines.recipes import list_recipes, load_recipe
from pipelines.settings.search import Choice
from pipelines.training import build_network
from pipelines.tuning.space import (
    declare,
    encoded,
    grid_values,
    is_inside,
    own_value,
    own_values,
    resolve,
)

BASE = load_recipe("digits_cnn").override({"search": {}})
SHIFT = [{"step": "shift", "pixels": 2}]
EVERY_KIND = {
    "optimizer.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
    "optimizer.weight_decay": {"min": 1e-4, "max": 1e-1, "sampling": "log", "step": 10},
    "network.arguments.dropout": {"min": 0.0, "max": 0.6, "step": 0.1},
    "augmentation.0.degrees": {"min": 1.0, "max": 20.0, "when": {"network.arguments.pooling": ["max", "average"]}},
    "epochs": {"min": 2, "max": 5},
    "batch_size": {"min": 10, "max": 100, "sampling": "log"},
    "network.arguments.dense_units": [[32], [128]],
    "network.arguments.pooling": ["max", "average", "l2"],
    "optimizer.name": ["adamw", "sgd"],
    "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer.name": "sgd"}},
    "optimizer.momentum": {"min": 0.5, "max": 0.9, "step": 0.1, "when": {"optimizer.nesterov": True}},
    "schedule": [{"name": "constant"}, {"name": "cosine", "warmup_epochs": 1}],
    "schedule.warmup_epochs": {"choices": [0, 1, 2], "when": {"schedule": {"name": "cosine", "warmup_epochs": 1}}},
}


def searching(spaces, base=BASE):
    recipe = base.override({"search": spaces})
    recipe.check_search()
    return recipe


def draws(space, count, seed):
    """Settings as Keras Tuner's random search draws them."""
    objective = keras_tuner.Objective("val_accuracy", "max")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, hyperparameters=space, seed=seed)
    return [oracle._random_values() for _ in range(count)]


@pytest.fixture
def seed():
    seed = random.SystemRandom().randrange(1, 2**31)
    print(f"seed {seed}")
    return seed


@pytest.fixture(scope="module")
def data():
    """What a network of small images needs to be built."""
    split = Split(np.zeros((120, 28, 28, 1), np.uint8), np.arange(120) % 10)
    return Dataset("digits", split, split, split, tuple("0123456789"), "")


@pytest.mark.parametrize("name", list_recipes())
def test_what_a_built_in_recipe_s_space_gives_is_a_recipe(name, seed):
    recipe = load_recipe(name)
    space = declare(recipe)
    assert {hp.name for hp in space.space} == set(recipe.search)
    own = own_values(recipe, space)
    assert is_inside(space, own)
    assert recipe.override(resolve(recipe, own)).optimizer == recipe.optimizer
    for values in [grid_values(space, 0), *draws(space, 20, seed)]:
        assert is_inside(space, values)
        settings = resolve(recipe, values)
        trained = recipe.override({**settings, "search": {}})
        for field, value in settings.items():
            assert own_value(trained, field) == value
            within = recipe.search[field]
            assert value in within.choices if isinstance(within, Choice) else within.min <= value <= within.max


def test_every_network_of_the_zoo_has_a_space_worth_searching():
    import zoo

    sizes = dict.fromkeys(zoo.list_models(), 0)
    for recipe in map(load_recipe, list_recipes()):
        assert len(recipe.search) <= 8
        sizes[recipe.network.name] = max(sizes[recipe.network.name], len(recipe.search))
    assert min(sizes.values()) >= 4, sizes


@pytest.mark.parametrize("name", ["digits_cnn", "lenet5", "lenet5_modern", "mnist_fc_faithful"])
def test_networks_of_drawn_settings_can_be_built(name, seed, data):
    recipe = load_recipe(name)
    for values in draws(declare(recipe), 3, seed):
        build_network(recipe.override(resolve(recipe, values)), data)


def copies(space):
    """Through Keras Tuner's files, and through its protocol."""
    return [
        keras_tuner.HyperParameters.from_config(space.get_config()),
        keras_tuner.HyperParameters.from_proto(space.to_proto()),
    ]


def test_a_space_survives_keras_tuner_s_files_and_its_protocol(capsys, seed):
    recipe = searching(EVERY_KIND)
    space = declare(recipe)
    for copy in copies(space):
        assert {hp.name: hp.get_config() for hp in copy.space} == {hp.name: hp.get_config() for hp in space.space}
        assert {hp.name: type(hp) for hp in copy.space} == {hp.name: type(hp) for hp in space.space}
    for values in draws(space, 20, seed):
        space.values = values
        for copy in copies(space):
            assert resolve(recipe, copy.values) == resolve(recipe, values)
    assert capsys.readouterr().out == f"seed {seed}\n"


def test_fields_are_set_in_the_trials_that_vary_them_and_no_others(seed):
    recipe = searching(EVERY_KIND)
    seen = set()
    for values in draws(declare(recipe), 60, seed):
        settings = resolve(recipe, values)
        trained = recipe.override({**settings, "search": {}})
        assert ("optimizer.nesterov" in settings) == (settings["optimizer.name"] == "sgd")
        assert ("optimizer.momentum" in settings) == settings.get("optimizer.nesterov", False)
        assert ("augmentation.0.degrees" in settings) == (settings["network.arguments.pooling"] != "l2")
        assert ("schedule.warmup_epochs" in settings) == (settings["schedule"]["name"] == "cosine")
        assert trained.optimizer.momentum == settings.get("optimizer.momentum", BASE.optimizer.momentum)
        if trained.schedule.name == "cosine":  # the block first, then the field inside it
            assert trained.schedule.warmup_epochs == settings["schedule.warmup_epochs"]
        seen |= set(settings)
    assert seen == set(EVERY_KIND)


def test_values_of_inactive_fields_are_left_out():
    """Keras Tuner's protocol gives them their defaults."""
    recipe = searching({key: EVERY_KIND[key] for key in ("schedule", "schedule.warmup_epochs")})
    space = declare(recipe)
    space.values = {"schedule": encoded({"name": "constant"})}
    (_, through_protocol) = copies(space)
    assert set(through_protocol.values) == {"schedule", "schedule.warmup_epochs"}
    assert resolve(recipe, through_protocol.values) == {"schedule": {"name": "constant"}}


def test_names_of_keras_tuner_s_own_are_left_out():
    recipe = searching({"batch_size": [32, 64]})
    values = {"batch_size": "64", "tuner/epochs": 3, "tuner/trial_id": "0001", "zoo/search": "abc"}
    assert resolve(recipe, values) == {"batch_size": 64}
    assert is_inside(declare(recipe), values)


def test_settings_have_the_types_of_their_fields():
    recipe = searching(
        {
            "batch_size": {"min": 16.0, "max": 64.0, "step": 16.0},
            "network.arguments.dropout": {"min": 0.0, "max": 0.6, "step": 0.1},
            "optimizer.learning_rate": {"min": 1e-4, "max": 1.0},
        }
    )
    values = {"batch_size": 1, "network.arguments.dropout": 3, "optimizer.learning_rate": 0.1 + 0.2}
    settings = resolve(recipe, values)
    assert settings == {"batch_size": 32, "network.arguments.dropout": 0.3, "optimizer.learning_rate": 0.3}
    assert [type(value) for value in settings.values()] == [int, float, float]


def test_values_keep_within_their_range_where_keras_tuner_s_do_not():
    """Bayesian search goes up to the very end, where a log range of whole numbers is one too large."""
    recipe = searching({key: EVERY_KIND[key] for key in ("batch_size", "optimizer.learning_rate")})
    batch_size, learning_rate = declare(recipe).space
    assert batch_size.prob_to_value(1.0) == 101
    at_end = {hp.name: hp.prob_to_value(1.0) for hp in (batch_size, learning_rate)}
    assert resolve(recipe, at_end) == {"batch_size": 100, "optimizer.learning_rate": 1e-2}
    assert resolve(recipe, {"batch_size": batch_size.prob_to_value(0.0)}) == {"batch_size": 10}


def test_every_value_of_a_stepped_range_is_tried():
    recipe = searching({"network.arguments.dropout": {"min": 0.0, "max": 0.6, "step": 0.1}})
    (dropout,) = declare(recipe).space
    rates = [resolve(recipe, {dropout.name: index})[dropout.name] for index in dropout.values]
    assert rates == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    # As Bayesian search sees them.
    assert [dropout.prob_to_value(dropout.value_to_prob(index)) for index in dropout.values] == list(dropout.values)


def test_the_recipe_s_own_values_are_the_defaults_and_trial_0():
    precise = 0.00312345678
    recipe = searching(EVERY_KIND, BASE.override({"epochs": 4, "optimizer.learning_rate": precise}))
    space = declare(recipe)
    own = own_values(recipe, space)
    assert is_inside(space, own)
    assert own == space.values
    assert own == {
        "optimizer.learning_rate": precise,
        "optimizer.weight_decay": 2,  # of 1e-4, 1e-3, 1e-2, 1e-1
        "network.arguments.dropout": 3,
        "epochs": 4,
        "batch_size": 64,
        "network.arguments.dense_units": "[128]",
        "network.arguments.pooling": '"max"',  # the network's default
        "optimizer.name": '"adamw"',
        "schedule": '{"name": "cosine", "warmup_epochs": 1}',  # the recipe's, which says more
        "augmentation.0.degrees": 10.0,
        "schedule.warmup_epochs": "1",
    }
    settings = resolve(recipe, own)
    assert settings["optimizer.learning_rate"] == precise
    trained = recipe.override({**settings, "search": {}})
    assert trained.network.arguments.pop("pooling") == "max"
    assert trained == recipe.override({"search": {}})


@pytest.mark.parametrize(
    ("field", "space"),
    [
        ("optimizer.learning_rate", {"min": 1e-1, "max": 1.0}),
        ("optimizer.momentum", {"min": 1e-3, "max": 1e-1, "sampling": "log"}),  # 0, of which there is no logarithm
        ("network.arguments.dropout", {"min": 0.05, "max": 0.45, "step": 0.1}),
        ("augmentation.3.pixels", {"min": 1, "max": 4}),  # 1.5
        ("network.arguments.filters", [[1], [2]]),
        ("early_stopping.patience", {"min": 1, "max": 5}),  # which the recipe does not have
    ],
)
def test_own_values_outside_the_space_are_trial_0_all_the_same(field, space):
    recipe = searching({field: space, "batch_size": [32, 64]})
    space = declare(recipe)
    own = own_values(recipe, space)
    assert not is_inside(space, own)
    assert is_inside(space, space.values)
    assert resolve(recipe, own) == {field: own_value(recipe, field), "batch_size": 64}
    for copy in copies(space):
        assert resolve(recipe, copy.values) == resolve(recipe, space.values)


def test_a_field_that_waits_for_what_the_recipe_does_not_have_is_not_of_trial_0():
    spaces = {
        "augmentation": [[], SHIFT],
        "augmentation.0.pixels": {"min": 1, "max": 4, "when": {"augmentation": SHIFT}},
    }
    recipe = searching(spaces)
    space = declare(recipe)
    own = own_values(recipe, space)
    assert set(own) == {"augmentation"}
    assert not is_inside(space, own)
    assert recipe.override(resolve(recipe, own)).augmentation == recipe.augmentation
    shifted = resolve(recipe, {"augmentation.0.pixels": 3, "augmentation": encoded(SHIFT)})
    assert list(shifted) == ["augmentation", "augmentation.0.pixels"]
    (step,) = recipe.override({**shifted, "search": {}}).augmentation
    assert (step.step, step.pixels) == ("shift", 3)
