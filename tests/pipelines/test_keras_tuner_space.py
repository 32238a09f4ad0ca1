"""Where Keras Tuner's hyperparameters are wrong, and why `pipelines/tuning/space.py` goes around them.

Each test fails on the day that Keras Tuner is right; what it says then may be deleted with it.
"""

import keras_tuner
from keras_tuner.engine import hyperparameters as kinds
from keras_tuner.src.engine import conditions

import pipelines.tuning.space  # noqa: F401  (silences Keras Tuner's printing)
from pipelines.settings.search import Range


def test_a_condition_is_printed_on_its_way_through_the_protocol(capsys, monkeypatch):
    condition = conditions.Parent("network.arguments.pooling", ['"max"'])
    condition.to_proto()
    assert capsys.readouterr().out == ""
    monkeypatch.delattr(conditions, "print")
    condition.to_proto()
    assert capsys.readouterr().out == '"max"\n', (
        "Parent.to_proto is silent now; strike `conditions.print` from space.py."
    )


def test_a_float_range_ends_a_step_too_early():
    dropout = kinds.Float("dropout", 0.0, 0.6, step=0.1)
    assert len(list(dropout.values)) == 6, "0.6 is among the values now; a stepped range need not be its indices."
    assert Range(min=0.0, max=0.6, step=0.1).count == 7


def test_a_float_range_does_not_find_its_own_values():
    rate = kinds.Float("rate", 0.2, 0.9, step=0.1)
    wrong = [value for value in rate.values if rate.prob_to_value(rate.value_to_prob(value)) != value]
    assert wrong, "Bayesian search sees its own values now; a stepped range need not be its indices."


def test_a_log_range_of_whole_numbers_ends_one_too_late():
    batch_size = kinds.Int("batch_size", 10, 100, sampling="log")
    assert batch_size.prob_to_value(1.0) == 101, "it ends at its end now; `resolve` need not cut it off."


def test_a_field_cannot_have_two_conditions_by_scopes():
    space = keras_tuner.HyperParameters()
    space.Choice("a", ["1", "2"])
    space.Choice("b", ["1", "2"])
    with space.conditional_scope("a", ["1"]):
        try:
            with space.conditional_scope("b", ["1"]):
                raise AssertionError("scopes of two parents nest now; `declare` may open them.")
        except ValueError:
            pass


def test_the_protocol_gives_inactive_fields_their_defaults():
    space = keras_tuner.HyperParameters()
    space.Choice("parent", ["1", "2"])
    with space.conditional_scope("parent", ["1"]):
        space.Choice("child", ["3", "4"])
    space.values = {"parent": "2"}
    through = keras_tuner.HyperParameters.from_proto(space.to_proto())
    assert through.values == {"parent": "2", "child": "3"}, "they are left out now; `resolve` need not look."
