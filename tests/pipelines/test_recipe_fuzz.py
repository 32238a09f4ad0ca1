"""Recipes with something wrong in them: one sentence that names the field, never a traceback."""

import copy
import random

import numpy as np
import pytest
from ruamel.yaml import YAML

import zoo
from pipelines.batches import steps_per_epoch
from pipelines.datasets import Dataset, Split
from pipelines.errors import PipelineError, UsageError
from pipelines.optimizers import make_optimizer
from pipelines.recipes import BUILT_IN, list_recipes, load_recipe
from pipelines.schedules import make_learning_rate
from pipelines.training import augmentation_of, build_network

MUTANTS = 60
"""Of each recipe."""
VALUES = [
    *(None, True, "", " ", "no", "1e-3", "a\nb", "\x00", "ünï", "../../etc", "nan", "inf", "-1", "mnist", "adamw"),
    *(0, -1, 1, 7, 10**9, 10**400, -0.5, 0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
    *([], [1], [1, 2], [-1, 0], [[1]], ["a"], [None], [{"step": "shift"}], [{"step": "crop", "size": [10**6, 10**6]}]),
    *({}, {"name": "x"}, {"a": {"b": []}}, {"min": 3, "max": 1}, {"choices": [1]}, {"step": "rotation", "degrees": 0}),
]


@pytest.fixture(scope="module")
def data():
    """Small enough that whatever is asked of it takes no time."""
    images, labels = np.zeros((40, 28, 28, 1), np.uint8), np.arange(40) % 10
    split = Split(images, labels)
    return Dataset("digits", split, split, split, tuple("0123456789"), "")


def places(node, path=()):
    """The paths of everything in nested fields."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def mutated(fields, chance):
    """One or two places changed, removed, or joined by something unknown."""
    fields = copy.deepcopy(fields)
    for _ in range(chance.choice([1, 1, 2])):
        path = chance.choice([path for path in places(fields) if path])
        *parents, last = path
        node = fields
        for part in parents:
            node = node[part]
        match chance.choice(["replace", "replace", "replace", "remove", "add"]):
            case "replace":
                node[last] = copy.deepcopy(chance.choice(VALUES))
            case "remove":
                del node[last]
            case "add" if isinstance(node, dict):
                node[chance.choice(["momentun", "epoch", "seed ", "a.b", "$"])] = copy.deepcopy(chance.choice(VALUES))
            case "add":
                node.insert(0, copy.deepcopy(chance.choice(VALUES)))
    return fields


@pytest.mark.parametrize("name", list_recipes())
def test_a_mutated_recipe_is_a_recipe_or_one_sentence(name, data, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    original = YAML(typ="safe", pure=True).load((BUILT_IN / f"{name}.yaml").read_text("utf-8"))
    file = tmp_path / "mine.yaml"
    refused = 0
    for number in range(MUTANTS):
        fields = mutated(original, chance)
        with file.open("w", encoding="utf-8") as stream:
            YAML(typ="safe", pure=True).dump(fields, stream)
        try:
            recipe = load_recipe(str(file))
            augmentation = None if data.has_signals else augmentation_of(recipe, data)
            steps = steps_per_epoch(recipe, data.train, augmentation.copies if augmentation else 1)
            rate = make_learning_rate(recipe.schedule, recipe.optimizer.learning_rate, steps, recipe.epochs)
            assert not callable(rate) or np.isfinite(rate(0)), fields
            make_optimizer(recipe.optimizer, rate)
            if recipe.network.arguments != original["network"].get("arguments") and number < 5:
                build_network(recipe, data)
        except (UsageError, PipelineError, zoo.ZooError) as error:
            refused += 1
            sentence = str(error)
            assert "\n" not in sentence, fields
            assert sentence.endswith((".", "?")), fields
            assert "pydantic" not in sentence, fields
    assert refused > MUTANTS / 5


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("optimizer.learning_rate", -0.1, "optimizer.learning_rate"),
        ("optimizer.learning_rate", "fast", "optimizer.learning_rate"),
        ("optimizer.momentun", 0.9, "optimizer.momentun"),
        ("epochs", 1.5, "epochs"),
        ("shuffle", "sometimes", "shuffle"),
        ("keep", "worst", "keep"),
        ("schedule", {"name": "steps", "epochs": [2, 1], "factors": [0.1, 0.2]}, "schedule"),
        ("schedule", {"name": "steps", "epochs": [2], "factors": [0.1, 0.2]}, "schedule"),
        ("schedule", {"name": "sawtooth"}, "schedule.name"),
        ("schedule", {"factor": 3}, "schedule.name"),
        ("schedule", {"name": "plateau", "factor": 3, "patience": 1}, "schedule.factor"),
        ("schedule", {"name": "cosine", "patience": 1}, "schedule.patience"),
        ("schedule", {"name": "plateau", "patience": 1, "warmup_epochs": 1}, "schedule.warmup_epochs"),
        ("schedule", {"name": "exponential", "factor": 0.5, "every_epochs": 10**400}, "schedule.every_epochs"),
        ("early_stopping", {"patience": 0}, "early_stopping.patience"),
        ("augmentation", [{"step": "crop", "padding": -1}], "augmentation.0.padding"),
        ("augmentation", [{"step": "elastic", "alpha": 3}], "augmentation.0.sigma"),
        ("augmentation", [{"pixels": 3}], "augmentation.0.step"),
        ("augmentation", [{"step": "bend"}], "augmentation.0.step"),
        ("dataset.name", 3, "dataset.name"),
        ("network", "mnist_fc", "network"),
    ],
)
def test_a_bad_field_is_named(field, value, says):
    with pytest.raises(UsageError) as raised:
        load_recipe("digits_cnn").override({field: value})
    sentence = str(raised.value)
    assert f"'{says}'" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"augmentation": [{"step": "crop", "size": [40, 40]}]}, r"augmentation\.0\.size"),
        ({"augmentation": [{"step": "shift", "pixels": 1}, {"step": "pca_colour"}]}, r"augmentation\.1"),
        ({"dataset.name": "mnits"}, "Unknown dataset 'mnits'"),
        ({"batch_size": 100_000}, "batch_size is 100000"),
    ],
)
def test_a_recipe_that_its_data_cannot_serve(zoo_command, store, values, says):
    import json
    import re

    settings = [part for field, value in values.items() for part in ("--set", f"{field}={json.dumps(value)}")]
    status, out, err = zoo_command("train", "digits_cnn", *settings)
    assert status == 2
    assert out == ""
    assert re.search(says, err.splitlines()[-1])
    assert "Traceback" not in err
