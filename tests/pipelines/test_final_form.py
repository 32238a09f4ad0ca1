"""The form in which a recipe is released: its learning rates are those of the run that chose it."""

import keras
import numpy as np
import pytest

from pipelines.datasets import load_dataset
from pipelines.errors import UsageError
from pipelines.recipes import recipe_from_yaml
from pipelines.training import fit
from pipelines.tuning.final_form import final_form

# Of six epochs; a plateau of patience 2 drops the rate after the fourth.
HISTORY = {"loss": [1.0] * 6, "val_accuracy": [0.5, 0.7, 0.6, 0.7, 0.8, 0.75]}
SCHEDULES = [
    {"name": "constant"},
    {"name": "constant", "warmup_epochs": 1.5},
    {"name": "cosine"},
    {"name": "cosine", "warmup_epochs": 1},
    {"name": "cosine", "epochs": 9},
    {"name": "steps", "epochs": [2, 4], "factors": [0.4, 0.0]},
    {"name": "exponential", "factor": 0.5, "every_epochs": 2},
]
PLATEAU = {"name": "plateau", "factor": 0.1, "patience": 1}


@pytest.fixture(scope="module")
def recipe(small_recipe):
    tiny = {"network.arguments.filters": [2], "network.arguments.dense_units": [4], "epochs": 6, "batch_size": 500}
    return small_recipe.override(tiny)


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


class Rates(keras.callbacks.Callback):
    """The learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def rates(recipe, data):
    """Of every step of a run, each a graph call of its own; and the run's history."""
    found = Rates()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.training.MOST_STEPS_PER_CALL", 1)
        return found.seen, fit(recipe, data, [found]).history


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: "-".join(map(str, schedule.values())))
def test_rates_are_those_of_the_first_epochs(recipe, data, schedule):
    recipe = recipe.override({"schedule": schedule})
    final = final_form(recipe, 5, HISTORY)
    before, after = rates(recipe, data)[0], rates(final, data)[0]
    assert (len(before), len(after)) == (6 * 2, 5 * 2)  # on the same images, so that steps can be compared
    assert after == before[:10]


def test_a_plateau_becomes_the_steps_that_it_took(recipe, data):
    """On the history of the run itself."""
    # So slow that hardly any epoch is better than all before it.
    slow = {"schedule": PLATEAU, "optimizer": {"name": "sgd", "learning_rate": 1e-3}}
    recipe = recipe.override(slow)
    before, history = rates(recipe, data)
    final = final_form(recipe, 5, history)
    after = rates(final, data)[0]
    assert after == pytest.approx(before[:10], rel=1e-6)
    assert len(set(before[:10])) == 1 + len(final.schedule.epochs) > 1  # or it would show little


@pytest.mark.parametrize(
    ("accuracies", "epochs", "expected"),
    [
        ([0.5, 0.6, 0.7, 0.8], 4, {"name": "constant"}),
        ([0.5, 0.5, 0.5, 0.8], 4, {"name": "steps", "epochs": [2, 3], "factors": [0.1, 0.01]}),
        ([0.5, 0.5, 0.6, 0.6, 0.7, 0.8], 6, {"name": "steps", "epochs": [2, 4], "factors": [0.1, 0.01]}),
        ([0.5, 0.5, 0.6, 0.6, 0.7, 0.8], 4, {"name": "steps", "epochs": [2], "factors": [0.1]}),  # 4 is over by then
        ([0.5, 0.5], 2, {"name": "constant"}),
        ([0.5], 1, {"name": "constant"}),
    ],
)
def test_the_drops_of_a_plateau(recipe, accuracies, epochs, expected):
    final = final_form(recipe.override({"schedule": PLATEAU}), epochs, {"val_accuracy": accuracies})
    found = final.schedule.model_dump(exclude={"warmup_epochs"})
    assert found.pop("factors", []) == pytest.approx(expected.pop("factors", []))
    assert found == expected


def test_a_plateau_that_has_dropped_to_nothing_stays_there(recipe):
    recipe = recipe.override({"schedule": PLATEAU | {"factor": 1e-200}})
    final = final_form(recipe, 6, {"val_accuracy": [0.5] * 6})
    assert final.schedule.epochs == [2, 3]
    assert final.schedule.factors == [1e-200, 0.0]


def test_nothing_is_left_to_decide(recipe):
    deciding = {"keep": "best", "early_stopping": {"patience": 2}, "schedule": {"name": "plateau", "patience": 2}}
    searched = recipe.override(deciding)
    final = final_form(searched, 5, HISTORY)
    assert searched.search
    assert (final.dataset.validation, final.epochs, final.keep, final.early_stopping) == (0, 5, "last", None)
    assert final.search == {}
    assert final.schedule.model_dump() == {
        "name": "steps",
        "warmup_epochs": 0.0,
        "epochs": [4],
        "factors": pytest.approx([0.1]),
    }
    assert recipe_from_yaml(final.to_yaml(), "final") == final
    # All else is as it was.
    decided = ("dataset", "epochs", "keep", "early_stopping", "schedule", "search")
    for name in set(type(final).model_fields) - set(decided):
        assert getattr(final, name) == getattr(searched, name)


def test_a_cosine_keeps_its_horizon(recipe):
    assert final_form(recipe.override({"schedule.epochs": 9}), 5, HISTORY).schedule.epochs == 9
    assert final_form(recipe, 5, HISTORY).schedule.epochs == 6
    assert final_form(recipe, 6, HISTORY).schedule.epochs == 6
    with pytest.raises(UsageError, match=r"'schedule\.epochs'.*zero in 6 epochs, and the run has 7"):
        final_form(recipe, 7, HISTORY)


def test_the_final_form_trains_on_everything(recipe):
    final = final_form(recipe, 2, HISTORY)
    data = load_dataset(**final.dataset.options)
    assert len(data.train) == 1437
    fitted = fit(final, data)
    assert set(fitted.history) == {"loss", "accuracy"}
    assert np.isfinite(fitted.history["loss"]).all()
