"""What a recipe's `search:` block may say, and the one sentence that refuses what it may not."""

import json
import re
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.recipes import Recipe, load_recipe, parse_yaml, recipe_from_yaml
from pipelines.settings.search import Choice, Range, check_spaces, contexts, held, in_order

BASE = load_recipe("digits_cnn").override({"search": {}})
RULE = "optimizer.name"
SHIFT = [{"step": "shift", "pixels": 2}]
SCHEDULES = [{"name": "constant"}, {"name": "cosine"}]
MOMENTUM = {"min": 0.5, "max": 0.9}


def searched(spaces):
    recipe = BASE.override({"search": spaces})
    recipe.check_search()
    return recipe


@pytest.mark.parametrize(
    "spaces",
    [
        {"batch_size": [32, 64, 128]},
        {"batch_size": {"choices": [32, 64]}},
        {"batch_size": {"min": 16.0, "max": 64.0, "step": 16.0}},
        {"network.arguments.normalization": "boolean"},
        {"network.arguments.filters": [[8], [8, 16]]},
        {"optimizer.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log", "step": 10}},
        {"early_stopping": [None, {"patience": 3}], "keep": ["last", "best"]},
        {
            "early_stopping": [None, {"patience": 3}],
            "keep": {"choices": ["last", "best"], "when": {"early_stopping": None}},
        },
        {
            "schedule": SCHEDULES,
            "schedule.warmup_epochs": {"min": 0, "max": 2, "when": {"schedule": {"name": "cosine"}}},
        },
        {"augmentation": [[], SHIFT], "augmentation.0.pixels": {"min": 1, "max": 4, "when": {"augmentation": SHIFT}}},
        {"augmentation": [[], SHIFT], "augmentation.0.pixels": {"min": 1, "max": 4, "when": {"augmentation": [SHIFT]}}},
        {"augmentation": [[], SHIFT], "epochs": {"min": 1, "max": 4, "when": {"augmentation": []}}},
        {"optimizer.momentum": {**MOMENTUM, "when": {RULE: ["sgd", "adam"]}}, RULE: ["sgd", "adam", "adamw"]},
    ],
)
def test_a_search_block_survives_yaml_and_json(spaces):
    recipe = searched(spaces)
    assert recipe_from_yaml(recipe.to_yaml(), "mine") == recipe
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


def test_what_the_documentation_shows_is_a_search_block():
    text = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(search:.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        searched(parse_yaml(block, "docs/tuning.md")["search"])


def test_short_forms_are_choices():
    assert searched({"batch_size": [32, 64]}).search["batch_size"] == Choice(choices=[32, 64])
    assert searched({"optimizer.nesterov": "boolean"}).search["optimizer.nesterov"] == Choice(choices=[False, True])


@pytest.mark.parametrize(
    ("spaces", "says"),
    [
        # What is no space.
        ({"batch_size": 3}, r"'search.batch_size': expected .* or the word boolean, received 3"),
        ({"batch_size": None}, r"'search.batch_size': expected"),
        ({"batch_size": {}}, r"lacks the field 'search.batch_size.min'"),
        ({"batch_size": {"min": 1}}, r"lacks the field 'search.batch_size.max'"),
        ({"batch_size": {"choices": [1, 2], "min": 1}}, r"unknown field 'search.batch_size.min'"),
        ({"batch_size": {"min": "few", "max": 5}}, r"'search.batch_size.min': it should be a number, received 'few'"),
        ({"batch_size": {"min": "1", "max": 5}}, r"'search.batch_size.min': it should be a number, received '1'"),
        ({"batch_size": {"min": True, "max": 5}}, r"'search.batch_size.min': it should be a number, received True"),
        ({"batch_size": {"min": 1, "max": 5, "sampling": "cubic"}}, r"search.batch_size.sampling.*'cubic'"),
        # Numbers that are none, or have no place.
        ({"optimizer.learning_rate": {"min": float("nan"), "max": 1}}, r"learning_rate.min'.*finite"),
        ({"optimizer.learning_rate": [0.1, float("inf")]}, r"learning_rate.1'.*finite"),
        ({"batch_size": {"min": 1, "max": 2**63}}, r"batch_size.max'.*64 bits"),
        ({"network.arguments.filters": [[1], [10**400]]}, r"filters.*64 bits"),
        ({"optimizer.learning_rate": {"min": 1e-300, "max": 1e300, "sampling": "log"}}, r"too far"),
        ({"optimizer.learning_rate": {"min": 1, "max": 1e300, "step": 1e-300}}, r"more than 2\*\*53 values"),
        # One value.
        ({"batch_size": [32]}, r"'search.batch_size': it has only one value, 32"),
        ({"batch_size": [32, 32.0]}, r"'search.batch_size': it has only one value, 32"),
        ({"batch_size": []}, r"'search.batch_size': it has no value"),
        ({"batch_size": [32, 64, 32]}, r"'search.batch_size': it lists 32 twice"),
        ({"batch_size": {"min": 32, "max": 32}}, r"'search.batch_size': it has only one value, 32"),
        ({"batch_size": {"min": 1, "max": 5, "step": 9}}, r"'search.batch_size': with a step of 9 .* one value, 1"),
        ({"schedule": [*SCHEDULES, {"name": "cosine", "warmup_epochs": 0}]}, r"'schedule'.*\"cosine\".* there twice"),
        ({"batch_size": {"min": 9, "max": 5}}, r"min \(9\) must be below max \(5\)"),
        ({"batch_size": {"min": 1, "max": 5, "step": 0}}, r"step of a range is above zero"),
        # Fields that are not for searching.
        ({"name": ["a", "b"]}, r"'name', which decides nothing in training"),
        ({"seeds": [1, 2]}, r"'seeds', which decides nothing"),
        ({"paper.test_accuracy": [98, 99]}, r"'paper.test_accuracy', which decides nothing"),
        ({"seed": [1, 2]}, r"'seed', which decides nothing worth searching"),
        ({"dataset.name": ["digits", "mnist"]}, r"'dataset.name', which has to stay .* could not be compared"),
        ({"optimiser.learning_rate": [1, 2]}, r"no field 'optimiser.learning_rate'.*did you mean 'optimizer'"),
        ({"augmentation.00.degrees": [1, 2]}, r"'augmentation.00.degrees', which is written 'augmentation.0.degrees'"),
        # Values that a field cannot take, or not in the trials in which it is varied.
        ({"batch_size": [32, "many"]}, r"With batch_size = \"many\" .* 'batch_size'.*received 'many'"),
        ({"batch_size": {"min": 1.0, "max": 5.0}}, r"With batch_size = 2\.27.* 'batch_size'.*valid integer"),
        ({"optimizer.learning_rate": {"min": 0, "max": 0.1}}, r"'optimizer.learning_rate'.*greater than 0, received 0"),
        ({"augmentation": [[], [{"step": "shft"}]]}, r"'augmentation.0.step': 'shft' is none of"),
        (
            {RULE: ["sgd", "adam"], "optimizer.momentum": {"min": 0.5, "max": 1, "when": {RULE: "sgd"}}},
            r"With optimizer.name = \"sgd\" and optimizer.momentum = 1 .* 'optimizer.momentum'.*less than 1",
        ),
        (
            {"augmentation": [[], SHIFT], "augmentation.0.pixels": {"min": 1, "max": 4, "when": {"augmentation": []}}},
            r"With augmentation = \[\] and .* no field 'augmentation.0.pixels'",
        ),
        # Conditions.
        ({"optimizer.momentum": {**MOMENTUM, "when": {RULE: "sgd"}}}, r"does not search over 'optimizer.name'"),
        ({"optimizer.momentum": {**MOMENTUM, "when": "sgd"}}, r"'search.optimizer.momentum.when'"),
        (
            {RULE: ["sgd", "adam"], "optimizer.momentum": {**MOMENTUM, "when": {RULE: "rmsprop"}}},
            r"'optimizer.momentum' when 'optimizer.name' is \"rmsprop\", which is none of its choices",
        ),
        ({RULE: ["sgd", "adam"], "optimizer.momentum": {**MOMENTUM, "when": {RULE: []}}}, r"empty list"),
        (
            {"epochs": {"min": 1, "max": 3}, "optimizer.momentum": {**MOMENTUM, "when": {"epochs": 2}}},
            r"'optimizer.momentum' when 'epochs' .* has a range",
        ),
        ({"epochs": {"choices": [1, 2], "when": {"epochs": 1}}}, r"circle: 'epochs' which waits for 'epochs'"),
        (
            {
                "epochs": {"choices": [1, 2], "when": {"keep": "best"}},
                "keep": {"choices": ["best", "last"], "when": {"epochs": 1}},
            },
            r"circle: .*'epochs' which waits for 'keep'|circle: .*'keep' which waits for 'epochs'",
        ),
        (
            {
                RULE: ["sgd", "adam"],
                "keep": {"choices": ["last", "best"], "when": {RULE: "adam"}},
                "epochs": {"choices": [1, 2], "when": {"keep": "best", RULE: "sgd"}},
            },
            r"never varies 'epochs': no value of 'optimizer.name' meets all its conditions",
        ),
        # A block and what is inside it.
        (
            {"schedule": SCHEDULES, "schedule.warmup_epochs": {"min": 0.0, "max": 2.0}},
            r"'schedule' and over 'schedule.warmup_epochs' inside it, which would undo each other",
        ),
    ],
)
def test_a_bad_search_block_is_one_sentence(spaces, says):
    with pytest.raises(UsageError, match=says) as raised:
        searched(spaces)
    assert "\n" not in str(raised.value)
    assert "The recipe digits_cnn" in str(raised.value) or "the recipe digits_cnn" in str(raised.value)


def test_a_bad_search_block_is_refused_as_the_recipe_is_read(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(BASE.to_yaml().replace("search: {}", "search: {batch_size: [32, many]}"))
    with pytest.raises(UsageError, match="'many'"):
        load_recipe(str(file))


def test_an_empty_search_block_is_a_recipe_for_training():
    assert searched({}).search == {}


def test_a_field_comes_after_those_that_its_condition_names_else_as_in_the_recipe():
    spaces = {
        "optimizer.momentum": Range(min=0.5, max=0.9, when={RULE: "sgd"}),
        "epochs": Range(min=1, max=3),
        RULE: Choice(choices=["sgd", "adam"], when={"keep": ["last"]}),
        "keep": Choice(choices=["last", "best"]),
        "batch_size": Choice(choices=[8, 16]),
    }
    assert in_order(spaces) == ["epochs", "keep", "batch_size", RULE, "optimizer.momentum"]
    assert held(spaces, "optimizer.momentum") == {"keep": ["last"], RULE: ["sgd"]}
    assert list(contexts(spaces, "optimizer.momentum")) == [{"keep": "last", RULE: "sgd"}]
    check_spaces(spaces)


def test_a_list_that_is_a_choice_itself_is_not_a_list_of_choices():
    spaces = {
        "network.arguments.filters": Choice(choices=[[8, 16], 8, 16]),
        "epochs": Choice(choices=[1, 2], when={"network.arguments.filters": [8, 16]}),
        "batch_size": Choice(choices=[1, 2], when={"network.arguments.filters": [16, 8]}),
    }
    assert held(spaces, "epochs") == {"network.arguments.filters": [[8, 16]]}
    assert held(spaces, "batch_size") == {"network.arguments.filters": [8, 16]}


@pytest.mark.parametrize(
    ("space", "values"),
    [
        ({"min": 0.0, "max": 0.6, "step": 0.1}, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        ({"min": 0.2, "max": 0.5, "step": 0.1}, [0.2, 0.3, 0.4, 0.5]),
        ({"min": 0, "max": 1, "step": 0.4}, [0.0, 0.4, 0.8]),
        ({"min": 32, "max": 128, "step": 32}, [32, 64, 96, 128]),
        ({"min": 16, "max": 100, "step": 2, "sampling": "log"}, [16, 32, 64]),
        ({"min": 1e-4, "max": 1e-1, "step": 10, "sampling": "log"}, [1e-4, 1e-3, 1e-2, 1e-1]),
    ],
)
def test_a_stepped_range_has_the_values_that_are_written(space, values):
    space = Range(**space)
    assert [space.at(index) for index in range(space.count)] == values
    assert [space.index(value) for value in values] == list(range(space.count))
    assert space.index(values[0] + (values[1] - values[0]) / 3) is None
    assert (space.at(-1), space.at(99)) == (values[0], values[-1])


@pytest.mark.parametrize("low", [1000.0, -1000.0, 1e-9])
def test_values_of_a_narrow_range_stay_apart(low):
    space = Range(min=low, max=low + 1e-6)
    tried = [space.within(low + part * 1e-7) for part in range(11)]
    assert len(set(tried)) == 11
    assert tried[0] == low
    assert all(space.min <= value <= space.max for value in tried)
