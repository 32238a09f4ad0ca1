import os
import signal
import sys
import time
from collections import Counter

import pytest

from pipelines.tuning.chief import Chief
from pipelines.tuning.loop import work
from pipelines.tuning.supervisor import Supervisor, how_it_ended, spawn
from pipelines.tuning.worker import RemoteOracle

SOON = 60
FOR_EVER = "import time; time.sleep(600)"


class Search:
    """What a supervisor is told by a chief, and what it tells it."""

    def __init__(self, has_trials=True):
        self.has_trials, self.numbers, self.failed, self.starts = has_trials, Counter(), [], Counter()

    def fail(self, worker, reason):
        if self.has_trials:
            self.failed.append((worker, reason))
        return self.has_trials


@pytest.fixture
def search():
    return Search()


@pytest.fixture
def supervise(tmp_path, search):
    """A supervisor of workers that run Python scripts; whatever happens none of them outlives the test."""
    started = []

    def make(scripts, **options):
        def start(name):
            search.starts[name] += 1
            script = scripts[name](search.starts[name]) if callable(scripts[name]) else scripts[name]
            process = spawn([sys.executable, "-c", script], tmp_path / "logs" / f"{name}.log", {"WORKER": name})
            started.append(process)
            return process

        callbacks = {"ended": search.numbers.__getitem__, "fail": search.fail}
        return Supervisor(list(scripts), start, **{"pause": 0.01, **callbacks, **options})

    yield make
    for process in started:
        process.kill()
        process.wait()


def until(supervisor, condition):
    deadline = time.monotonic() + SOON
    while not condition():
        supervisor.poll()
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_a_worker_that_is_done_is_not_started_again(supervise, search, tmp_path):
    with supervise({"a": "import os; print(os.environ['WORKER'])", "b": "pass"}) as supervisor:
        assert not supervisor.all_gone
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 1, "b": 1}
    assert supervisor.given_up == {}
    assert (tmp_path / "logs" / "a.log").read_text() == "a\n"


def test_a_dead_worker_is_started_again_under_its_id(supervise, search, tmp_path):
    dies_twice = lambda start: f"print({start}, flush=True); import os; {start} > 2 or os.kill(os.getpid(), 9)"  # noqa: E731
    with supervise({"a": dies_twice}) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 3}
    assert search.failed == []
    assert supervisor.given_up == {}
    assert (tmp_path / "logs" / "a.log").read_text() == "1\n2\n3\n"


def test_a_trial_that_kills_its_worker_again_and_again_is_failed_and_the_worker_goes_on(supervise, search):
    dies_thrice = lambda start: f"import os; {start} > 3 or os.kill(os.getpid(), 9)"  # noqa: E731
    with supervise({"a": dies_thrice}) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 4}
    assert supervisor.given_up == {}
    [(worker, reason)] = search.failed
    assert worker == "a"
    assert reason == (
        "Worker a died 3 times in a row, the last time so: killed by signal 9 (SIGKILL), which is what happens when "
        "memory runs out."
    )


def test_a_worker_that_dies_in_one_trial_after_the_other_is_given_up(supervise, search):
    with supervise({"a": "import os; os.kill(os.getpid(), 9)", "b": FOR_EVER}, deaths=2) as supervisor:
        until(supervisor, lambda: supervisor.given_up)
        assert search.starts == {"a": 4, "b": 1}
        assert len(search.failed) == 2
        assert list(supervisor.given_up) == ["a"]
        assert not supervisor.all_gone


def test_a_worker_that_ends_of_itself_fails_no_trial(supervise, search):
    """The tracking store was away, for one: that is no fault of the trial's."""
    with supervise({"a": "raise SystemExit(3)"}, deaths=2) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 2}
    assert search.failed == []
    assert supervisor.given_up == {"a": "Worker a died 2 times in a row, the last time so: it ended with status 3."}


def test_a_worker_that_dies_before_it_has_a_trial_is_given_up(supervise, search):
    search.has_trials = False
    with supervise({"a": "raise SystemExit(1)"}) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 3}
    assert list(supervisor.given_up) == ["a"]


def test_a_worker_that_ends_trials_between_its_deaths_is_not_given_up(supervise, search):
    def dies(start):
        search.numbers["a"] += 1  # before each start a trial more has ended
        return f"raise SystemExit({int(start < 12)})"

    with supervise({"a": dies}, pause=0.0) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 12}
    assert search.failed == []


def test_a_worker_that_cannot_be_started_is_given_up(search):
    search.has_trials = False

    def start(name):
        raise OSError(12, "Cannot allocate memory")

    with Supervisor(["a"], start, ended=search.numbers.__getitem__, fail=search.fail, pause=0.01) as supervisor:
        until(supervisor, lambda: supervisor.all_gone)
    assert "could not be started (Cannot allocate memory)" in supervisor.given_up["a"]


def test_a_worker_that_hangs_can_be_killed(supervise, search):
    with supervise({"a": lambda start: FOR_EVER if start == 1 else "pass"}) as supervisor:
        supervisor.poll()
        supervisor.kill("a")
        until(supervisor, lambda: supervisor.all_gone)
    assert search.starts == {"a": 2}


def test_at_the_end_workers_may_mark_their_runs_and_those_that_do_not_end_are_killed(supervise, tmp_path):
    orderly = (
        "import pathlib, signal, sys, time\n"
        "def end(number, frame):\n    print('marked', flush=True)\n    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    logs = {name: tmp_path / "logs" / f"{name}.log" for name in ("a", "b")}
    supervisor = supervise({"a": orderly, "b": stubborn})
    supervisor.poll()
    until(supervisor, lambda: all(log.read_text() == "ready\n" for log in logs.values()))
    supervisor.stop(seconds=1)
    assert logs["a"].read_text() == "ready\nmarked\n"
    assert supervisor.all_gone
    statuses = [worker.process.returncode for worker in supervisor._workers.values()]
    assert statuses == [1, -signal.SIGKILL]
    supervisor.poll()  # starts none again
    assert supervisor.all_gone


def test_ctrl_c_in_the_terminal_does_not_reach_the_workers(tmp_path):
    process = spawn([sys.executable, "-c", FOR_EVER], tmp_path / "log", {})
    try:
        assert os.getpgid(process.pid) == process.pid != os.getpgid(0)
    finally:
        process.kill()
        process.wait()


def test_exit_statuses_in_words():
    assert how_it_ended(2) == "it ended with status 2"
    assert how_it_ended(-signal.SIGSEGV) == "killed by signal 11 (SIGSEGV)"
    assert how_it_ended(-40) == "killed by signal 40"


WORKER = """
import os, signal, sys
from pathlib import Path
from pipelines.tuning.loop import work
from pipelines.tuning.worker import RemoteOracle

name, address, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def run(trial):
    with (folder / f"{name}.ran").open("a") as file:
        file.write(trial.trial_id + chr(10))
    died = folder / "died"
    if trial.trial_id == "1" and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"val_accuracy": 0.5}, 0

with RemoteOracle(address, name, wait=60, beat=0.2) as oracle:
    work(oracle, name, run, idle_seconds=0.1)
"""


def test_a_search_ends_by_itself_although_a_worker_is_killed_in_mid_trial(make_tuner_oracle, tmp_path, in_background):
    def other_worker():  # in a thread, since a process takes seconds for its imports
        with RemoteOracle(chief.address, "w1", wait=SOON, beat=0.2) as oracle:
            work(oracle, "w1", lambda trial: ({"val_accuracy": 0.5}, 0), idle_seconds=0.1)

    def start(name):
        command = [sys.executable, "-c", WORKER, name, chief.address, str(tmp_path)]
        return spawn(command, tmp_path / "w0.log", {"CUDA_VISIBLE_DEVICES": "-1"})

    def fail(worker, reason):
        return chief.fail(worker, reason) is not None

    with (
        Chief(make_tuner_oracle(6)) as chief,
        Supervisor(["w0"], start, ended=chief.ended.__getitem__, fail=fail, pause=0.1) as supervisor,
    ):
        until(supervisor, (tmp_path / "died").exists)
        other = in_background(other_worker)
        until(supervisor, lambda: supervisor.all_gone)
        other.result(SOON)
        assert chief.is_done()
        assert chief.told == {"w0", "w1"}
        assert supervisor.given_up == {}
    assert sorted(chief.oracle.end_order) == [str(number) for number in range(6)]
    assert chief.ended["w0"] >= 2, (tmp_path / "w0.log").read_text()
    ran = (tmp_path / "w0.ran").read_text().split()
    assert ran[:3] == ["0", "1", "1"], "the trial in which it died was its first again"
    assert sorted(set(ran)) == sorted(ran[:1] + ran[2:])
