"""Keras Tuner's protocol, and where its own chief, client and locks fail: a mend upstream shows here."""

import socket
import threading

import pytest
from keras_tuner.src.distribute.oracle_chief import start_server
from keras_tuner.src.distribute.oracle_client import OracleClient
from keras_tuner.src.engine.oracle import LOCKS, THREADS

from pipelines.tuning.chief import Chief
from pipelines.tuning.loop import work
from pipelines.tuning.worker import RemoteOracle

SOON = 20


@pytest.fixture
def keras_tuners_environment(monkeypatch):
    def set_to(worker, port):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", worker)
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))

    return set_to


def accuracy(trial):
    return None if trial.trial_id == "1" else ({"val_accuracy": trial.hyperparameters.values["units"] / 1000}, 1)


def check(oracle):
    assert oracle.end_order == ["0", "1", "2", "3"]
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED"]
    for trial in oracle.trials.values():
        if trial.status == "COMPLETED":
            assert trial.score == pytest.approx(trial.hyperparameters.values["units"] / 1000)


def test_keras_tuners_own_client_works_with_our_chief(make_tuner_oracle, keras_tuners_environment, in_background):
    with Chief(make_tuner_oracle()) as chief:
        keras_tuners_environment("theirs", chief.port)
        client = OracleClient(chief.oracle)
        in_background(work, client, "theirs", accuracy).result(SOON)
        assert chief.told == {"theirs"}
        assert chief.ended == {"theirs": 4}
        assert [trial.trial_id for trial in client.get_best_trials(1)] == [
            trial.trial_id for trial in chief.oracle.get_best_trials(1)
        ]
        assert [hp.name for hp in client.get_space().space] == ["rate", "units"]
    check(chief.oracle)


def test_a_trial_of_keras_tuners_own_client_counts_after_the_chief_was_started_again(
    make_tuner_oracle, keras_tuners_environment, in_background
):
    with Chief(make_tuner_oracle()) as first:
        keras_tuners_environment("theirs", first.port)
        client = OracleClient(first.oracle)
        trial = client.create_trial("theirs")
    with Chief(make_tuner_oracle(reload=True), port=first.port) as second:
        in_background(client.update_trial, trial.trial_id, {"val_accuracy": 0.5}).result(SOON)
        trial.status = "COMPLETED"
        client.end_trial(trial)
        client.end_trial(trial)  # does no harm
        assert second.oracle.end_order == [trial.trial_id]
        assert client.create_trial("theirs").trial_id != trial.trial_id


def test_our_worker_works_with_keras_tuners_own_chief(make_tuner_oracle, keras_tuners_environment, in_background):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    keras_tuners_environment("chief", port)
    oracle = make_tuner_oracle()
    server = in_background(start_server, oracle)
    with RemoteOracle(f"127.0.0.1:{port}", "ours", wait=SOON, beat=0.05) as remote:
        in_background(work, remote, "ours", accuracy).result(SOON)
    server.result(SOON)
    check(oracle)


def test_what_is_sent_of_a_trial_leaves_its_space_in_order(make_tuner_oracle, in_background):
    with Chief(make_tuner_oracle()) as chief, RemoteOracle(chief.address, "w0", wait=SOON) as remote:
        trial = remote.create_trial("w0")
        assert [hp.name for hp in trial.hyperparameters.space] == ["rate", "units"]  # as they are sent, by kind
        trial.status = "FAILED"
        in_background(remote.end_trial, trial).result(SOON)
        kept = chief.oracle.trials[trial.trial_id].hyperparameters
        assert [hp.name for hp in kept.space] == ["units", "rate"]
        assert kept.values == trial.hyperparameters.values


def test_keras_tuner_leaves_its_lock_closed_when_a_method_raises(make_tuner_oracle):
    oracle = make_tuner_oracle()
    with pytest.raises(KeyError):
        oracle.update_trial("9", {"val_accuracy": 0.5})
    assert LOCKS[oracle].locked()
    assert THREADS[oracle] == threading.current_thread().name
    waiting = threading.Thread(target=oracle.create_trial, args=["w0"], daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "Keras Tuner opens its lock now: pipelines.tuning.roster need not"
    THREADS[oracle] = None
    LOCKS[oracle].release()
    waiting.join(SOON)
    assert not waiting.is_alive()


def test_keras_tuners_client_does_not_know_the_trials(make_tuner_oracle, keras_tuners_environment):
    keras_tuners_environment("theirs", 1)
    with pytest.raises(AttributeError, match='no attribute "trials"'):
        _ = OracleClient(make_tuner_oracle()).trials


def test_keras_tuners_own_oracle_sends_workers_away_while_a_trial_may_yet_be_lost(make_tuner_oracle):
    oracle = make_tuner_oracle(1)
    assert oracle.create_trial("a").status == "RUNNING"
    assert oracle.create_trial("b").status == "STOPPED", "roster.hand_out need not make it IDLE any more"


def test_keras_tuner_takes_an_end_that_is_told_twice_for_two(make_tuner_oracle):
    oracle = make_tuner_oracle()
    trial = oracle.create_trial("a")
    trial.status = "FAILED"
    oracle.end_trial(trial)
    oracle.end_trial(trial)
    assert oracle.end_order == ["0", "0"], "roster.claim need not look any more whether a trial has ended"
