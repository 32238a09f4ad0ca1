import pytest
from pydantic import TypeAdapter

from pipelines.schedules import make_learning_rate, plateau_factor
from pipelines.settings.training import Plateau, Schedule

STEPS, EPOCHS = 12, 4


def rates(schedule, epochs):
    """With a peak of 1, at the start of each of these epochs."""
    rate = make_learning_rate(TypeAdapter(Schedule).validate_python(schedule), 1.0, STEPS, EPOCHS)
    return [float(rate(round(epoch * STEPS))) if callable(rate) else rate for epoch in epochs]


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ({"name": "constant"}, [0, 2, 4], [1.0, 1.0, 1.0]),
        ({"name": "cosine"}, [0, 2, 4 * 2 / 3, 4], [1.0, 0.5, 0.25, 0.0]),
        ({"name": "constant", "warmup_epochs": 2}, [0, 1, 2, 4], [0.0, 0.5, 1.0, 1.0]),
        ({"name": "cosine", "warmup_epochs": 2}, [0, 1, 2, 4 * 2 / 3, 4], [0.0, 0.5, 1.0, 0.75, 0.0]),
        ({"name": "cosine", "epochs": 8}, [0, 4, 8 * 2 / 3, 8], [1.0, 0.5, 0.25, 0.0]),
        ({"name": "cosine", "epochs": 8, "warmup_epochs": 2}, [0, 1, 2, 5, 8], [0.0, 0.5, 1.0, 0.5, 0.0]),
        # LeNet-5's falls after epochs 2 and 3; the step before an epoch's end still has the old rate.
        (
            {"name": "steps", "epochs": [2, 3], "factors": [0.4, 0.2]},
            [0, 1.9, 2, 2.9, 3, 3.9],
            [1.0, 1.0, 0.4, 0.4, 0.2, 0.2],
        ),
        # GoogLeNet's: four per cent less, in stairs.
        (
            {"name": "exponential", "factor": 0.96, "every_epochs": 2},
            [0, 1.9, 2, 3.9, 4],
            [1.0, 1.0, 0.96, 0.96, 0.9216],
        ),
        ({"name": "exponential", "factor": 0.5, "warmup_epochs": 1}, [0, 0.5, 1, 2], [0.0, 0.5, 0.5, 0.25]),
    ],
)
def test_schedules(schedule, epochs, expected):
    """A warm-up rises from zero; a cosine falls from its end to zero at the last step, of the run or of its epochs."""
    assert rates(schedule, epochs) == pytest.approx(expected, abs=1e-5)


def test_a_cosine_over_more_epochs_begins_as_the_longer_run():
    kind, steps = {"name": "cosine", "warmup_epochs": 1}, range(EPOCHS * STEPS + 1)
    longer = make_learning_rate(TypeAdapter(Schedule).validate_python(kind), 0.003, STEPS, 9)
    shorter = make_learning_rate(TypeAdapter(Schedule).validate_python({**kind, "epochs": 9}), 0.003, STEPS, EPOCHS)
    assert [float(shorter(step)) for step in steps] == [float(longer(step)) for step in steps]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([], 1.0),
        ([0.5, 0.6, 0.7], 1.0),
        ([0.5, 0.6, 0.6], 1.0),
        ([0.5, 0.6, 0.6, 0.59], 0.1),
        ([0.5, 0.6, 0.6, 0.59, 0.58], 0.1),  # patience begins anew
        ([0.5, 0.6, 0.6, 0.59, 0.58, 0.6], 0.01),
        ([0.5, 0.6, 0.6, 0.59, 0.7, 0.7], 0.1),
    ],
)
def test_a_plateau_lowers_the_rate(accuracies, expected):
    assert plateau_factor(Plateau(name="plateau", factor=0.1, patience=2), accuracies) == pytest.approx(expected)
