"""What the tests of distributed searches share."""

import threading
from concurrent.futures import Future

import keras_tuner
import pytest
from keras_tuner.oracles import RandomSearchOracle


@pytest.fixture
def make_tuner_oracle(tmp_path):
    """One of Keras Tuner's own oracles, whose state is in a folder of this test; with `reload` as it was left there."""

    def make(trials=4, *, oracle=RandomSearchOracle, reload=False, **options):
        space = keras_tuner.HyperParameters()
        space.Int("units", 1, 1000)
        space.Float("rate", 1e-4, 1e-1, sampling="log")
        objective = keras_tuner.Objective("val_accuracy", "max")
        made = oracle(
            objective=objective,
            max_trials=trials,
            hyperparameters=space,
            seed=7,
            max_consecutive_failed_trials=trials + 1,
            **options,
        )
        made.verbose = 0
        made._set_project_dir(str(tmp_path), "search")
        if reload:
            made.reload()
        return made

    return make


@pytest.fixture
def in_background():
    """Calls something in a thread; `result(timeout)` of what it returns has the outcome, and never hangs."""

    def start(call, *args, **options):
        outcome = Future()

        def run():
            try:
                outcome.set_result(call(*args, **options))
            except BaseException as error:  # noqa: BLE001 - it is raised by `result`
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return outcome

    return start
