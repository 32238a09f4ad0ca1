from types import SimpleNamespace

import pytest

from pipelines.tuning.loop import TrialIsLost, work


def accuracy(trial):
    return {"val_accuracy": trial.hyperparameters.values["units"] / 1000}, 3


class Scripted:
    """Hands out what it is told to, and keeps what it hears."""

    def __init__(self, *statuses):
        self.trials = [SimpleNamespace(trial_id=str(n), status=status) for n, status in enumerate(statuses)]
        self.heard = []

    def create_trial(self, tuner_id):
        return self.trials.pop(0)

    def update_trial(self, trial_id, metrics, step=0):
        self.heard.append((trial_id, metrics, step))

    def end_trial(self, trial):
        self.heard.append((trial.trial_id, trial.status))


def test_a_single_process_runs_every_trial_once(make_tuner_oracle):
    oracle, ran = make_tuner_oracle(5), []

    def run(trial):
        ran.append(trial.trial_id)
        return None if trial.trial_id == "2" else accuracy(trial)

    work(oracle, "alone", run)
    assert ran == oracle.end_order == ["0", "1", "2", "3", "4"]
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED"] * 2 + ["FAILED"] + ["COMPLETED"] * 2
    for number in ("0", "1", "3", "4"):
        trial = oracle.trials[number]
        assert trial.score == pytest.approx(trial.hyperparameters.values["units"] / 1000)
        assert trial.best_step == 3
    assert oracle.ongoing_trials == {}


def test_metrics_that_are_no_numbers_make_a_failed_trial(make_tuner_oracle):
    oracle = make_tuner_oracle(1)
    work(oracle, "alone", lambda trial: ({"val_accuracy": float("nan")}, 0))
    assert oracle.trials["0"].status == "FAILED"


def test_an_oracle_without_a_trial_for_now_is_asked_again(monkeypatch):
    slept, oracle = [], Scripted("IDLE", "IDLE", "RUNNING", "STOPPED")
    monkeypatch.setattr("time.sleep", slept.append)
    work(oracle, "w", lambda trial: ({"val_accuracy": 0.5}, 0), idle_seconds=0.25)
    assert slept == [0.25, 0.25]
    assert oracle.heard == [("2", {"val_accuracy": 0.5}, 0), ("2", "COMPLETED")]


def test_a_search_that_is_over_begins_no_trial(make_tuner_oracle):
    oracle, ran = make_tuner_oracle(5), []

    def run(trial):
        ran.append(trial.trial_id)
        return accuracy(trial)

    work(oracle, "alone", run, is_over=lambda: len(ran) == 2)
    assert ran == oracle.end_order == ["0", "1"]


def test_an_interrupted_trial_is_left_to_be_gone_on_with(make_tuner_oracle):
    def interrupted(trial):
        raise KeyboardInterrupt

    oracle = make_tuner_oracle(2)
    with pytest.raises(KeyboardInterrupt):
        work(oracle, "alone", interrupted)
    assert oracle.end_order == []
    ran, again = [], make_tuner_oracle(2, reload=True)

    def run(trial):
        ran.append(trial.trial_id)
        return accuracy(trial)

    work(again, "alone", run)
    assert ran == again.end_order == ["0", "1"]


def test_after_a_lost_trial_comes_the_next_one():
    oracle = Scripted("RUNNING", "RUNNING", "STOPPED")

    def run(trial):
        if trial.trial_id == "0":
            raise TrialIsLost("Trial 0 is in other hands by now.")

    work(oracle, "w", run)
    assert oracle.heard == [("1", "FAILED")]
