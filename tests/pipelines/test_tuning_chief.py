import socket
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from pipelines.errors import PipelineError, Stopped
from pipelines.tuning.chief import Chief
from pipelines.tuning.loop import TrialIsLost, work
from pipelines.tuning.worker import ChiefIsGone, RemoteOracle

SOON = 20  # seconds within which everything here must have come about
SCORE = {"val_accuracy": 0.5}


def remote(chief_or_address, worker="w0", **options):
    address = getattr(chief_or_address, "address", chief_or_address)
    return RemoteOracle(address, worker, **{"wait": 5, "patience": 5, "beat": 0.05, **options})


def until(condition):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def finish(oracle, trial):
    oracle.update_trial(trial.trial_id, SCORE)
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


@pytest.fixture
def chief(make_tuner_oracle):
    with Chief(make_tuner_oracle(4)) as served:
        yield served


def test_two_workers_share_a_search(make_tuner_oracle, in_background):
    ran = []

    def work_as(name, chief):
        def run(trial):
            ran.append(trial.trial_id)
            time.sleep(0.02)
            return None if trial.trial_id == "3" else (SCORE, 2)

        with remote(chief, name) as oracle:
            work(oracle, name, run, idle_seconds=0.05)

    with Chief(make_tuner_oracle(7)) as chief:
        workers = [in_background(work_as, name, chief) for name in ("ä", "w1")]
        for worker in workers:
            worker.result(SOON)
        assert chief.is_done()
        assert chief.told == {"ä", "w1"}
        assert chief.untold(60) == []
        assert sum(chief.ended.values()) == 7
    oracle = chief.oracle
    assert sorted(ran) == sorted(oracle.end_order) == [str(number) for number in range(7)]
    assert {number for number, trial in oracle.trials.items() if trial.status == "FAILED"} == {"3"}
    assert oracle.trials["0"].best_step == 2


def test_a_worker_that_is_started_again_gets_its_trial_back(chief):
    with remote(chief) as died:
        trial = died.create_trial("w0")
    with remote(chief) as again:
        back = again.create_trial("w0")
        assert (back.trial_id, back.hyperparameters.values) == (trial.trial_id, trial.hyperparameters.values)
        assert again.create_trial("w0").trial_id == trial.trial_id
        finish(again, back)
        assert again.create_trial("w0").trial_id != trial.trial_id


def test_a_silent_worker_loses_its_trial_to_another_one(chief):
    with remote(chief, "late", beat=60) as late, remote(chief, "next") as following:
        trial = late.create_trial("late")
        assert chief.silent(60) == []
        until(lambda: chief.silent(0.1) == ["late"])
        assert chief.release("late") == trial.trial_id
        assert chief.release("late") is None
        assert following.create_trial("next").trial_id == trial.trial_id
        with pytest.raises(TrialIsLost, match="in other hands"):
            late.update_trial(trial.trial_id, {"val_accuracy": 1.0})
        finish(following, trial)
        with pytest.raises(TrialIsLost):
            finish(late, trial)
        assert late.create_trial("late").trial_id != trial.trial_id
    assert chief.oracle.trials[trial.trial_id].score == 0.5
    assert chief.oracle.end_order == [trial.trial_id]
    assert chief.ended == {"next": 1}
    assert chief.error is None


def test_a_worker_hears_in_mid_trial_that_it_is_lost(chief):
    with remote(chief, "late") as late:
        trial = late.create_trial("late")
        with chief.turn():  # its heartbeat would get it back between the two
            chief.release("late")
            assert chief.hand_out("next", "").trial_id == trial.trial_id
        until(lambda: late._lost is not None)
        with pytest.raises(TrialIsLost):
            late.check()
        assert late.create_trial("late").trial_id != trial.trial_id
        late.check()


def test_a_worker_with_a_heartbeat_is_not_silent_and_one_that_is_back_in_time_has_its_trial_again(chief):
    with remote(chief) as oracle:
        trial = oracle.create_trial("w0")
        time.sleep(0.5)
        until(lambda: chief.silent(0.4) == [])
        chief.release("w0")
        until(lambda: "w0" in chief.oracle.ongoing_trials)
        assert chief.oracle._retry_queue == []
        finish(oracle, trial)
    assert chief.oracle.end_order == [trial.trial_id]


def test_while_one_has_the_last_trial_the_other_one_waits_for_it(make_tuner_oracle):
    with Chief(make_tuner_oracle(1)) as chief, remote(chief, "a", beat=60) as a, remote(chief, "b") as b:
        trial = a.create_trial("a")
        assert b.create_trial("b").status == "IDLE"
        assert not chief.is_done()
        assert chief.untold(60) == ["a", "b"]
        chief.release("a")
        assert b.create_trial("b").trial_id == trial.trial_id
        assert not chief.is_done()
        finish(b, trial)
        assert chief.is_done()
        assert b.create_trial("b").status == "STOPPED"
        assert chief.untold(60) == ["a"]
        assert a.create_trial("a").status == "STOPPED"
        assert a.create_trial("a").status == "STOPPED"
        assert chief.untold(60) == []


def test_the_trial_of_a_worker_can_be_failed(chief):
    with remote(chief) as oracle:
        assert chief.fail("w0") is None
        trial = oracle.create_trial("w0")
        assert chief.fail("w0", "It died thrice.") == trial.trial_id
        with pytest.raises(TrialIsLost):
            finish(oracle, trial)
        failed = chief.oracle.trials[trial.trial_id]
        assert (failed.status, failed.message, failed.score) == ("FAILED", "It died thrice.", None)
        assert oracle.create_trial("w0").trial_id != trial.trial_id
    assert chief.ended == {}


def test_of_two_workers_with_one_id_the_earlier_one_ends(chief):
    with remote(chief) as one, remote(chief) as other:
        trial = one.create_trial("w0")
        other.create_trial("w0")
        with pytest.raises(Stopped, match="Another worker calls itself w0 too"):
            finish(one, trial)
        finish(other, trial)


def test_an_answer_that_was_lost_is_asked_for_again_without_harm(chief):
    with remote(chief) as oracle:
        trial = oracle.create_trial("w0")
        finish(oracle, trial)
        finish(oracle, trial)
    assert chief.oracle.end_order == [trial.trial_id]
    assert chief.ended == {"w0": 1}


def test_what_fails_in_the_chief_is_told_to_all_and_nothing_hangs(chief, monkeypatch, in_background):
    def full_disk(trial):
        raise OSError(28, "No space left on device")

    with remote(chief, "a") as a, remote(chief, "b") as b:
        trial = a.create_trial("a")
        monkeypatch.setattr(chief.oracle, "_save_trial", full_disk)
        for call in (lambda: finish(a, trial), lambda: b.create_trial("b"), lambda: a.create_trial("a")):
            with pytest.raises(Stopped, match="No space left on device"):
                in_background(call).result(SOON)
        assert isinstance(chief.error, OSError)
        monkeypatch.undo()
        # In other threads than the one that failed: Keras Tuner's lock is open.
        assert in_background(chief.oracle.create_trial, "c").result(SOON).status == "RUNNING"
        assert in_background(chief.fail, "a").result(SOON) == trial.trial_id


def test_what_fails_in_the_owners_turn_leaves_no_lock(chief, monkeypatch, in_background):
    with remote(chief) as oracle:
        oracle.create_trial("w0")
        monkeypatch.setattr(chief.oracle, "score_trial", None)
        monkeypatch.setattr(chief.oracle, "_save_trial", None)
        with pytest.raises(TypeError):
            chief.fail("w0")
        monkeypatch.undo()
        assert in_background(oracle.create_trial, "w1").result(SOON).status == "RUNNING"


def test_a_mistake_of_a_worker_does_not_end_the_search(chief):
    with remote(chief) as oracle:
        trial = oracle.create_trial("w0")
        with pytest.raises(Stopped, match="Objective value missing"):
            oracle.update_trial(trial.trial_id, {"loss": 1.0})
        trial.status = "COMPLETED"
        with pytest.raises(Stopped, match="Objective value missing"):
            oracle.end_trial(trial)
        with pytest.raises(Stopped, match="no trial 9 here"):
            oracle.update_trial("9", SCORE)
        assert chief.error is None
        finish(oracle, trial)


def test_without_a_chief_a_worker_ends(make_tuner_oracle):
    chief = Chief(make_tuner_oracle())
    with chief, remote(chief, patience=0.5, beat=60) as idle, remote(chief, "busy", patience=0.5) as busy:
        busy.create_trial("busy")
        chief.stop()
        with pytest.raises(ChiefIsGone, match=rf"{chief.address} has not answered for 0.5 s; start it again with --r"):
            idle.create_trial("w0")
        until(lambda: busy._lost is not None)
        with pytest.raises(ChiefIsGone):
            busy.check()


def test_a_chief_that_does_not_answer_is_gone_too(chief):
    with remote(chief, patience=0.5, deadline=0.2) as oracle:
        oracle.create_trial("w0")
        with chief.turn():
            until(lambda: oracle._lost is not None)
            with pytest.raises(ChiefIsGone):
                oracle.create_trial("w0")


def test_a_chief_that_is_killed_and_started_again_is_waited_for(make_tuner_oracle, in_background):
    first = Chief(make_tuner_oracle(2))
    with first, remote(first, beat=60) as silent, remote(first, "w1") as lively:
        trials = [silent.create_trial("w0"), lively.create_trial("w1")]
        first.stop()
        asking = in_background(finish, silent, trials[0])
        with Chief(make_tuner_oracle(2, reload=True), port=first.port) as second:
            asking.result(SOON)  # what it reports counts, though this chief did not give it the trial
            until(lambda: "w1" in second.oracle.ongoing_trials)
            assert silent.create_trial("w0").status == "IDLE"
            finish(lively, trials[1])
            assert lively.create_trial("w1").status == "STOPPED"
    assert second.oracle.end_order == ["0", "1"]
    assert second.oracle._retry_queue == []


def test_workers_may_be_there_before_the_chief(make_tuner_oracle, in_background):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    said = []

    def come_early():
        with remote(f"127.0.0.1:{port}", wait=SOON, say=said.append) as oracle:
            return oracle.create_trial("w0").status

    worker = in_background(come_early)
    until(lambda: said)
    with Chief(make_tuner_oracle(), port=port):
        assert worker.result(SOON) == "RUNNING"
    assert said == [f"Waiting up to {SOON} s for the chief at 127.0.0.1:{port} ..."]


def test_a_worker_does_not_wait_for_ever(chief):
    chief.stop()
    with pytest.raises(ChiefIsGone, match=r"No chief has answered at .* for 0\.2 s"), remote(chief, wait=0.2):
        pass


def test_something_else_at_the_address_is_no_chief():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with remote(f"127.0.0.1:{port}") as oracle, pytest.raises(Stopped, match="is no chief of a search"):
            oracle.create_trial("w0")
    finally:
        server.stop(0)


@pytest.mark.parametrize("host", ["taken", "192.0.2.1", "no.such.host.invalid"])
def test_an_address_to_listen_at_has_to_be_free_and_of_this_machine(chief, make_tuner_oracle, host):
    where = ("127.0.0.1", chief.port) if host == "taken" else (host, 0)
    with (
        pytest.raises(PipelineError, match=r"The chief cannot listen at .*; give it an address"),
        Chief(make_tuner_oracle(), *where),
    ):
        pass
