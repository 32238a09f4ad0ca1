"""Which worker of a search has which trial, and when it was last heard of."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.src.engine.oracle import LOCKS, THREADS


class RefusalError(Exception):
    """What a worker asks for is not granted; nothing has changed."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Roster:
    """Keeps the trials of an oracle and the workers apart.

    A worker is known by its id, and its process by a mark of its own, which tells two workers that were given one id
    apart. Keras Tuner's own workers name themselves only where they ask for a trial; afterwards they are known by the
    trial that they speak of, and their id and mark are empty here.
    """

    def __init__(self, oracle: keras_tuner.Oracle) -> None:
        self.oracle = oracle
        """To be looked into or changed in a `turn` only."""
        self.told: set[str] = set()
        """The workers that know that there are no more trials."""
        self.ended: Counter[str] = Counter()
        """How many trials each worker has ended."""
        self._lock = threading.RLock()
        self._heard: dict[str, float] = {}
        self._processes: dict[str, str] = {}
        self._ended_by: dict[str, str] = {}
        self._is_exhausted = False

    @contextlib.contextmanager
    def turn(self) -> Iterator[keras_tuner.Oracle]:
        """The oracle, while nobody else is at it."""
        with self._lock:
            try:
                yield self.oracle
            except BaseException:
                _unlock(self.oracle)
                raise

    def is_done(self) -> bool:
        """Whether every trial has ended: there are as many as planned, or a worker has asked in vain for one, and none
        is in progress or waits to be gone on with."""
        with self.turn() as oracle:
            planned = oracle.max_trials is not None and len(oracle.trials) >= oracle.max_trials
            return self._is_exhausted or (planned and not oracle.ongoing_trials and not oracle._retry_queue)

    def silent(self, seconds: float) -> list[str]:
        """The workers that have a trial and were not heard of for so long."""
        now = time.monotonic()
        with self.turn() as oracle:
            return [w for w in oracle.ongoing_trials if now - self._heard.setdefault(w, now) >= seconds]

    def untold(self, seconds: float) -> list[str]:
        """The workers that were heard of within so many seconds and do not know yet that there are no more trials."""
        now = time.monotonic()
        with self.turn():
            return [w for w, heard in self._heard.items() if now - heard < seconds and w not in self.told]

    def release(self, worker: str) -> str | None:
        """Take a worker's trial from it, so that the next one that asks goes on with it.

        Returns the trial's id, None where the worker has none. Should the worker be heard of before another one asks,
        it has its trial again; later it is told that the trial is lost.
        """
        with self.turn() as oracle:
            trial = oracle.ongoing_trials.pop(worker, None)
            if trial is None:
                return None
            oracle._retry_queue.append(trial.trial_id)
            oracle.save()
            return str(trial.trial_id)

    def fail(self, worker: str, reason: str = "") -> str | None:
        """End a worker's trial as FAILED. Returns the trial's id, None where the worker has none."""
        with self.turn() as oracle:
            trial = oracle.ongoing_trials.get(worker)
            if trial is None:
                return None
            trial.status, trial.message = "FAILED", reason or None
            oracle.end_trial(trial)
            self._ended_by[trial.trial_id] = ""
            return str(trial.trial_id)

    def hand_out(self, worker: str, process: str) -> TunerTrial:
        """The trial that a worker gets when it asks for one."""
        self._processes[worker] = process  # of two with one id, the later one has it
        self._hear(worker, process)
        trial = self.oracle.create_trial(worker)
        if trial.status != "STOPPED":
            self.told.discard(worker)
        elif self.oracle.ongoing_trials:
            # Whoever has one may die, and then somebody must be there to go on with it.
            trial.status = "IDLE"
        else:
            self._is_exhausted = True
            self.told.add(worker)
        return trial

    def claim(self, trial_id: str, worker: str, process: str) -> bool:
        """A worker speaks of a trial as its own; whether that counts. It does not where the trial has ended.

        A trial that waits for somebody to go on with it becomes the worker's again, for it is in the midst of it: it
        was silent for a while, or the chief was killed and started again. Raises RefusalError where the trial is lost.
        """
        oracle = self.oracle
        trial = self.find(trial_id)
        if worker:
            self._hear(worker, process)
        holder = self._holder(trial)
        if holder is None and trial_id in oracle._retry_queue:
            holder = worker or f"the worker of trial {trial_id}"
            if holder in oracle.ongoing_trials:
                raise RefusalError(
                    grpc.StatusCode.ABORTED, f"Worker {holder} has another trial than {trial_id} by now."
                )
            oracle._retry_queue.remove(trial_id)
            oracle.ongoing_trials[holder] = trial
            oracle.save()
        if holder is not None and worker in ("", holder):
            self._heard[holder] = time.monotonic()
            return True
        if holder is not None or (worker and self._ended_by.get(trial_id, worker) != worker):
            raise RefusalError(grpc.StatusCode.ABORTED, f"Trial {trial_id} is in other hands by now.")
        return False

    def end(self, trial: TunerTrial) -> None:
        """The worker that has it has ended this trial; `trial` is what it sent."""
        known = self.find(trial.trial_id)
        holder = self._holder(known)
        assert holder is not None
        # Sent, a space loses its order.
        if trial.hyperparameters.values.keys() == known.hyperparameters.values.keys():
            trial.hyperparameters = known.hyperparameters
        self.oracle.end_trial(trial)
        self._ended_by[trial.trial_id] = holder
        self.ended[holder] += 1

    def find(self, trial_id: str) -> TunerTrial:
        """A trial that has begun. Raises RefusalError where there is none with this id."""
        if trial_id not in self.oracle.trials:
            raise RefusalError(
                grpc.StatusCode.NOT_FOUND, f"There is no trial {trial_id} here; another search is served."
            )
        return self.oracle.trials[trial_id]

    def _holder(self, trial: TunerTrial) -> str | None:
        return next((w for w, ongoing in self.oracle.ongoing_trials.items() if ongoing is trial), None)

    def _hear(self, worker: str, process: str) -> None:
        known = self._processes.get(worker) or process
        if process and known != process:
            raise RefusalError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Another worker calls itself {worker} too; give each an id of its own.",
            )
        self._processes[worker] = known
        self._heard[worker] = time.monotonic()


def _unlock(oracle: keras_tuner.Oracle) -> None:
    """Open the lock that Keras Tuner's `synchronized` leaves closed when a method raises; later calls would hang."""
    if THREADS[oracle] == threading.current_thread().name:
        THREADS[oracle] = None
        LOCKS[oracle].release()
