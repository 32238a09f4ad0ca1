import math

import numpy as np
import pytest

from pipelines.fields import short_names
from pipelines.tuning.importance import FEWEST, field_importance
from pipelines.tuning.trials import Trial

SCALES = {"optimizer.learning_rate": "log", "network.arguments.pooling": "choice", "batch_size": "linear"}


def made(count, objective, **more):
    """Trials at random, with an objective that is a function of learning rate, pooling and batch size."""
    random = np.random.default_rng(7)
    trials = []
    for number in range(count):
        rate, size = 10 ** random.uniform(-4, -1), int(random.integers(16, 256))
        pooling = ["max", "average", [2, 3]][random.integers(3)]
        settings = dict(zip(SCALES, (rate, pooling, size), strict=True))
        trials.append(Trial(number, settings, objective=objective(rate, pooling, size), **more))
    return trials


@pytest.mark.parametrize(
    ("objective", "field"),
    [
        (lambda rate, pooling, size: -((math.log10(rate) + 2.5) ** 2), "optimizer.learning_rate"),
        (lambda rate, pooling, size: float(pooling == "max"), "network.arguments.pooling"),
        (lambda rate, pooling, size: float(size), "batch_size"),
    ],
)
def test_the_field_that_decides_has_the_greatest_share(objective, field):
    shares = field_importance(made(40, objective), SCALES)
    assert list(shares) == list(SCALES)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    assert shares[field] > 0.7
    assert shares == field_importance(made(40, objective), SCALES)  # the same again


def test_one_trial_that_broke_down_does_not_decide():
    trials = made(40, lambda rate, pooling, size: math.log10(rate))
    trials[5] = Trial(5, trials[5].settings, objective=-1e6)
    assert field_importance(trials, SCALES)["optimizer.learning_rate"] > 0.7


def test_what_the_epochs_of_a_hyperband_explain_is_given_to_no_field():
    def trial(number, settings):
        epochs = (1, 3, 9)[number % 3]
        return Trial(
            number, settings, objective=epochs + 0.1 * math.log10(settings["optimizer.learning_rate"]), epochs=epochs
        )

    trials = [trial(t.number, t.settings) for t in made(60, lambda *_: 0.0)]
    assert field_importance(trials, SCALES)["optimizer.learning_rate"] > 0.6


def test_a_field_that_some_trials_do_not_have():
    trials = [
        Trial(i, {"optimizer.momentum": 0.1 * (i % 10)} if i % 2 else {}, objective=float(i % 2)) for i in range(20)
    ]
    scales = {"optimizer.momentum": "linear", "batch_size": "log"}
    assert field_importance(trials, scales) == {"optimizer.momentum": 1.0, "batch_size": 0.0}


@pytest.mark.parametrize(
    "trials",
    [
        [],
        made(FEWEST - 1, lambda rate, *_: rate),
        made(20, lambda *_: 0.5),
        [Trial(t.number, t.settings, error="failed") for t in made(20, lambda *_: 0.0)],
        [Trial(t.number, t.settings, objective=math.nan) for t in made(20, lambda *_: 0.0)],
    ],
    ids=["none", "few", "equal", "failed", "nan"],
)
def test_nothing_is_said_where_nothing_is_known(trials):
    assert field_importance(trials, SCALES) is None


def test_names_are_as_short_as_they_are_clear():
    fields = ["optimizer.learning_rate", "optimizer.name", "augmentation.0.degrees", "augmentation.2.degrees", "epochs"]
    assert short_names(fields) == [
        "learning_rate",
        "optimizer.name",
        "augmentation.0.degrees",
        "augmentation.2.degrees",
        "epochs",
    ]
