import itertools

from pipelines.recipes import load_recipe
from pipelines.tuning.space import declare, grid_size, grid_values, is_inside, resolve


def searching(spaces):
    recipe = load_recipe("digits_cnn").override({"search": spaces})
    recipe.check_search()
    return recipe


def test_the_grid_has_each_combination_once():
    recipe = searching(
        {
            "optimizer.name": ["adamw", "sgd"],
            "optimizer.momentum": {"min": 0.5, "max": 0.9, "step": 0.2, "when": {"optimizer.name": "sgd"}},
            "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer.name": "sgd"}},
            "epochs": {"min": 2, "max": 4},
        }
    )
    space = declare(recipe)
    assert grid_size(space) == 2 * 3 * 3 * 2
    grid = [grid_values(space, index) for index in range(grid_size(space))]
    found = [resolve(recipe, values) for values in grid if values is not None]
    names = ("optimizer.name", "optimizer.momentum", "optimizer.nesterov", "epochs")
    wanted = [{names[0]: "adamw", names[3]: epochs} for epochs in (2, 3, 4)]
    for epochs, momentum, nesterov in itertools.product((2, 3, 4), (0.5, 0.7, 0.9), (False, True)):
        wanted.append({names[0]: "sgd", names[1]: momentum, names[2]: nesterov, names[3]: epochs})
    assert len(found) == len(wanted)
    assert all(settings in found for settings in wanted)
    # The first of all is that of the fields' first values.
    assert found[0] == {"optimizer.name": "adamw", "epochs": 2}


def test_a_huge_grid_is_not_laid_out():
    recipe = searching({"epochs": {"min": 1, "max": 10**6}, "batch_size": {"min": 1, "max": 10**6}})
    space = declare(recipe)
    assert grid_size(space) == 10**12
    assert grid_values(space, 10**12 - 1) == {"epochs": 10**6, "batch_size": 10**6}
    assert grid_values(space, 2_000_004) == {"epochs": 3, "batch_size": 5}


def test_the_grid_of_a_range_without_steps_has_ten_values():
    recipe = searching(
        {
            "optimizer.learning_rate": {"min": 1e-4, "max": 1e-2, "sampling": "log"},
            "batch_size": {"min": 10, "max": 100, "sampling": "log"},
        }
    )
    space = declare(recipe)
    assert grid_size(space) == 100
    rates = [grid_values(space, 10 * index)["optimizer.learning_rate"] for index in range(10)]
    assert rates == sorted(set(rates))
    assert 1e-4 < rates[0] < rates[-1] < 1e-2


def test_what_is_hidden_among_the_hyperparameters_stays_in_the_grid():
    space = declare(searching({"batch_size": [32, 64]}))
    space.Fixed("zoo/search", "abc")
    assert grid_size(space) == 2
    assert grid_values(space, 1) == {"batch_size": "64", "zoo/search": "abc"}
    assert is_inside(space, {"batch_size": "64", "zoo/search": "abc"})
    assert not is_inside(space, {"batch_size": "65", "zoo/search": "abc"})
