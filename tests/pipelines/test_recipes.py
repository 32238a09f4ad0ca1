import pytest

import zoo
from pipelines.datasets import list_datasets
from pipelines.errors import UsageError
from pipelines.recipes import list_recipes, load_recipe, parse_assignments, recipe_from_yaml

MINIMAL = """
name: mine
network: {name: mnist_fc}
dataset: {name: digits}
optimizer: {name: sgd, learning_rate: 1e-1}
epochs: 1
batch_size: 10
"""


@pytest.mark.parametrize("name", list_recipes())
def test_built_in_recipe_names_what_exists(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.dataset.name in list_datasets()
    assert set(recipe.network.arguments) <= set(zoo.get_spec(recipe.network.name).arguments)
    if recipe.paper:
        assert 80 < recipe.paper.test_accuracy < 100  # percent
        assert recipe.paper.source


@pytest.mark.parametrize("name", list_recipes())
def test_built_in_recipe_survives_its_own_yaml(name):
    recipe = load_recipe(name)
    assert recipe_from_yaml(recipe.to_yaml(), name) == recipe


def test_own_file_is_read_by_path_and_named_after_it(tmp_path):
    (tmp_path / "own.yaml").write_text(MINIMAL.replace("name: mine", ""))
    assert load_recipe(str(tmp_path / "own.yaml")).name == "own"


def test_yaml_is_read_as_version_1_2():
    """PyYAML reads 1e-3 as a string and `no` as false."""
    assert parse_assignments(["a=1e-3", "b=no", "c=[1, 2]", "d=true"]) == {"a": 1e-3, "b": "no", "c": [1, 2], "d": True}


def test_any_field_can_be_overridden_and_the_original_stays():
    recipe = load_recipe("digits_cnn")
    changed = recipe.override(
        {"optimizer.learning_rate": 0.5, "augmentation.0.degrees": 3, "network.arguments.pooling": "average", "seed": 9}
    )
    assert changed.optimizer.learning_rate == 0.5
    assert changed.augmentation[0].degrees == 3
    assert changed.network.arguments["pooling"] == "average"
    assert changed.flat()["seed"] == 9
    assert "pooling" not in recipe.network.arguments


def test_a_cosine_becomes_constant_by_its_name_alone():
    recipe = load_recipe("digits_cnn")
    assert recipe.schedule.name == "cosine"
    assert recipe.override({"schedule.name": "constant"}).schedule.model_dump() == {
        "name": "constant",
        "warmup_epochs": 1,
    }
    assert recipe.override({"schedule.epochs": 30}).override({"schedule.epochs": None}) == recipe


def test_the_search_space_can_be_overridden_too():
    recipe = load_recipe("digits_cnn").override({"search.optimizer.learning_rate": {"min": 1, "max": 2}})
    assert recipe.search["optimizer.learning_rate"].max == 2


def test_the_file_of_a_run_names_defaults_too():
    """Or an old run's recipe would change with them."""
    text = load_recipe("digits_cnn").to_yaml()
    for field in ("seed: 1", "precision: float32", "loss: crossentropy", "l2: 0.0"):
        assert field in text


def test_flat_names_are_those_that_override_takes():
    recipe = load_recipe("digits_cnn")
    values = {name: value for name, value in recipe.flat().items() if value is not None}
    assert recipe.override(values) == recipe


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"optimizer.learning_rat": 1}, "no field 'optimizer.learning_rat'.*did you mean 'learning_rate'"),
        ({"optimizer.learning_rate": -1}, "'optimizer.learning_rate'.*greater than 0, received -1"),
        ({"optimizer.learning_rate": "fast"}, "'optimizer.learning_rate'.*received 'fast'"),
        ({"optimizer.learning_rate": float("nan")}, "'optimizer.learning_rate'.*finite"),
        ({"optimizer.name": "adagrad"}, "'optimizer.name'.*'sgd', 'adam' or 'adamw', received 'adagrad'"),
        ({"augmentation": [{"step": "blur"}]}, "'augmentation.0.step': 'blur' is none of .*'shift'"),
        ({"augmentation": [{"step": "shift", "pixel": 1}]}, "lacks the field 'augmentation.0.pixels'"),
        ({"augmentation.7.degrees": 1}, "'7' is unknown; expected one of 0, 1, 2, 3"),
        ({"epochs": 1.5}, "'epochs'.*received 1.5"),
        ({"epochs.x": 1}, "it has no parts"),
        ({"augmentation.²": 1}, "'²' is unknown"),
        ({"search.epochs": {"min": 1, "max": 9, "sampling": "log", "step": 0.5}}, "factor above 1, received 0.5"),
        ({"loss": "hinge"}, "'loss'.*'crossentropy', 'quadratic' or 'map', received 'hinge'"),
        ({"regularization.l2": -0.1}, "'regularization.l2'.*greater than or equal to 0, received -0.1"),
        ({"regularization.l1": 0.1}, "no field 'regularization.l1'"),
        ({"dataset.path": "flowers"}, "'dataset': path belongs to the dataset folder, not to digits"),
        ({"dataset.name": "folder"}, "'dataset': the dataset folder needs path and image_size"),
        ({"dataset": {"name": "folder", "path": "a", "image_size": [8]}}, "'dataset.image_size.1'"),
        ({"dataset": {"name": "folder", "path": "a", "image_size": [8, 0]}}, "'dataset.image_size.1'.*received 0"),
        (
            {"dataset": {"name": "folder", "path": "a", "image_size": [8, 8], "channels": 2}},
            "'dataset.channels'.*1 or 3",
        ),
        ({"dataset.validation": -1}, "'dataset.validation'.*greater than or equal to 0, received -1"),
        ({"dataset.validation": 0, "keep": "best"}, r"validation is 0\), which keep: best needs; hold some out, or do"),
        (
            {"schedule.epochs": 23},
            "'schedule.epochs': the cosine falls to zero in 23 epochs, and the run has 24; expec",
        ),
        ({"schedule.epochs": 0}, "'schedule.epochs'.*greater than 0, received 0"),
        ({"schedule": {"name": "constant", "epochs": 30}}, "unknown field 'schedule.epochs'"),
        ({"search": {"epochs": {"min": 3, "max": 1}}}, r"'search.epochs'.*min \(3\) must be below max"),
        ({"search": {"epochs": {"min": 0, "max": 1, "sampling": "log"}}}, "log range starts above zero"),
    ],
)
def test_bad_value_is_one_sentence_that_names_the_field(values, says):
    with pytest.raises(UsageError, match=says) as error:
        load_recipe("digits_cnn").override(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        (MINIMAL + "epoch: 3", "unknown field 'epoch'; did you mean 'epochs'"),
        (MINIMAL.replace("epochs: 1", ""), "lacks the field 'epochs'"),
        (MINIMAL + "x: [1", "line .* is no YAML"),
        ("just words", "holds no fields"),
        ("", "holds no fields"),
        (MINIMAL + "search: {optimiser.learning_rate: {min: 1, max: 2}}", "no field 'optimiser.learning_rate'"),
        (MINIMAL + "search: {batch_size: {choices: [10, ten]}}", "'batch_size'.*'ten'"),
        (MINIMAL + "search: {name: {choices: [a, b]}}", "decides nothing"),
    ],
)
def test_bad_file_is_one_sentence(tmp_path, yaml, says):
    (tmp_path / "bad.yaml").write_text(yaml)
    with pytest.raises(UsageError, match=says) as error:
        load_recipe(str(tmp_path / "bad.yaml"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "says"), [("digits_cn", "did you mean 'digits_cnn'"), ("./x.yaml", "no recipe file")])
def test_unknown_recipe(name, says):
    with pytest.raises(UsageError, match=says):
        load_recipe(name)


@pytest.mark.parametrize("assignment", ["epochs", "=3", "epochs=[1"])
def test_bad_assignment(assignment):
    with pytest.raises(UsageError):
        parse_assignments([assignment])


def test_a_folder_s_runs_are_listed_under_its_name():
    folder = {"name": "folder", "path": "photos/flowers", "image_size": [8, 8]}
    assert load_recipe("digits_cnn").override({"dataset": folder}).dataset.title == "folder-flowers"
    assert load_recipe("digits_cnn").dataset.title == "digits"
