"""The loop of a search: ask for a trial, run it, report it. A single process and each of many workers go through it."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from keras_tuner.engine.trial import Trial as TunerTrial

from pipelines.errors import Stopped


class TrialIsLost(Stopped):
    """Somebody else goes on with this trial, or has ended it: what comes of it here does not count."""


class TrialSource(Protocol):
    """What hands out trials: one of Keras Tuner's oracles, or a worker's connection to the chief that has it."""

    def create_trial(self, tuner_id: str) -> TunerTrial:
        """The trial to run next: RUNNING, or IDLE (ask again), or STOPPED (there are no more)."""

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> TunerTrial:
        """Report what came of it."""

    def end_trial(self, trial: TunerTrial) -> None:
        """Say that it is over, and whether it was COMPLETED or FAILED."""


def work(
    oracle: TrialSource,
    worker_id: str,
    run_trial: Callable[[TunerTrial], tuple[dict[str, float], int] | None],
    *,
    is_over: Callable[[], bool] = lambda: False,
    idle_seconds: float = 0.5,
) -> None:
    """Run trials until there are no more, or `is_over` says so before one begins.

    `run_trial` returns a trial's metrics, the objective among them, and the step (from 0) at which that was best; None
    where the trial failed. Why it failed it keeps itself, since Keras Tuner's protocol carries no reasons. What it
    raises goes through, and leaves the trial to be gone on with; except TrialIsLost, after which the next trial is
    asked for. An oracle that has none for now is asked again after `idle_seconds`.
    """
    while not is_over():
        trial = oracle.create_trial(worker_id)
        if trial.status == "STOPPED":
            return
        if trial.status == "IDLE":
            time.sleep(idle_seconds)
            continue
        try:
            outcome = run_trial(trial)
            if outcome is not None:
                metrics, best_step = outcome
                oracle.update_trial(trial.trial_id, metrics, step=best_step)
            trial.status = "FAILED" if outcome is None else "COMPLETED"
            oracle.end_trial(trial)
        except TrialIsLost:
            continue
