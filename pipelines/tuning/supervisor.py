"""Keeps the workers of a search on this machine alive."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass
class _Worker:
    process: subprocess.Popen[bytes] | None = None
    """None while it is to be started (again)."""
    start_at: float = 0.0
    ended: int = 0
    """Trials that it had ended when it last died."""
    deaths: int = 0
    """In a row, without a trial ended in between."""
    failed: int = 0
    """Trials that were failed since they killed it, in a row."""
    is_finished: bool = False


class Supervisor:
    """Starts workers and restarts those that die, under their ids, whereby they get their trials back. At the end of a
    `with` block it stops them.

    A trial in which its worker was killed `deaths` times in a row is failed, and its worker goes on with the next one.
    A worker that is killed as often without a trial, or in `deaths` trials in a row, is given up; so is one that ended
    as often of itself, which is no fault of its trial.
    """

    def __init__(
        self,
        workers: Sequence[str],
        start: Callable[[str], subprocess.Popen[bytes]],
        *,
        ended: Callable[[str], int],
        fail: Callable[[str, str], bool],
        deaths: int = 3,
        pause: float = 1.0,
    ) -> None:
        """`start` starts the worker with an id; `ended` is how many trials it has ended; `fail` fails the trial that it
        has for a reason, and says whether it had one. A dead worker is started again after `pause` seconds, then after
        twice that, and so on."""
        self._start, self._ended, self._fail, self._deaths, self._pause = start, ended, fail, deaths, pause
        self._workers = {name: _Worker() for name in workers}
        self.given_up: dict[str, str] = {}
        """Why each of the workers that were given up was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def all_gone(self) -> bool:
        """Whether no worker runs or may be started again."""
        return all(worker.is_finished or name in self.given_up for name, worker in self._workers.items())

    def poll(self) -> None:
        """Start whoever is not running and should be; to be called every second or so."""
        for name, worker in self._workers.items():
            if worker.is_finished or name in self.given_up:
                continue
            if worker.process is None:
                if time.monotonic() >= worker.start_at:
                    self._begin(name, worker)
            elif worker.process.poll() == 0:
                worker.is_finished = True
            elif worker.process.returncode is not None:
                status = worker.process.returncode
                self._died(name, worker, how_it_ended(status), was_killed=status < 0)

    def kill(self, worker: str) -> None:
        """Kill a worker that hangs; it is started again."""
        process = self._workers[worker].process
        if process is not None:
            process.kill()

    def stop(self, seconds: float = 20.0) -> None:
        """End all workers: they are asked to, and killed after so many seconds."""
        running = [w.process for w in self._workers.values() if w.process is not None and w.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + seconds
        try:
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also at a second Ctrl-C
            for process in running:
                if process.poll() is None:
                    process.kill()
                    with contextlib.suppress(subprocess.TimeoutExpired):  # it may hang in the kernel, on a lost disk
                        process.wait(5)
            for worker in self._workers.values():
                worker.is_finished = True

    def _begin(self, name: str, worker: _Worker) -> None:
        try:
            worker.process = self._start(name)
        except OSError as error:  # no memory for a process more
            self._died(name, worker, f"it could not be started ({error.strerror or error})")

    def _died(self, name: str, worker: _Worker, how: str, *, was_killed: bool = False) -> None:
        worker.process = None
        ended = self._ended(name)
        if ended > worker.ended:
            worker.ended, worker.deaths, worker.failed = ended, 0, 0
        worker.deaths += 1
        worker.start_at = time.monotonic() + self._pause * 2 ** (worker.deaths - 1)
        if worker.deaths < self._deaths:
            return
        reason = f"Worker {name} died {worker.deaths} times in a row, the last time so: {how}."
        had_one = was_killed and self._fail(name, reason)
        worker.failed += had_one
        worker.deaths = 0
        if not had_one or worker.failed == self._deaths:
            self.given_up[name] = reason


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A worker's process, whose output is added to the file `log`, and whose environment has these variables too.

    It has a session of its own: at Ctrl-C only the supervisor is interrupted, and ends its workers in good order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )


def how_it_ended(status: int) -> str:
    """What the exit status of a process says, as `subprocess` gives it."""
    if status >= 0:
        return f"it ended with status {status}"
    try:
        name = f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}" + (", which is what happens when memory runs out" if status == -signal.SIGKILL else "")
