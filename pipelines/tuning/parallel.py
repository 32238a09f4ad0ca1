"""Searches whose trials are trained by several processes: on this machine, or on several.

In both the chief is the process that has the oracle, and the workers speak with it over Keras Tuner's protocol; on one
machine they are this program's own processes, with a supervisor.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import tensorflow as tf

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, Stopped, UsageError
from pipelines.interruption import check
from pipelines.provenance import cores
from pipelines.recipes import Recipe
from pipelines.tuning.chief import Chief
from pipelines.tuning.loop import work
from pipelines.tuning.oracles import SEARCH
from pipelines.tuning.plan import Plan, SearchFolder, is_same_search
from pipelines.tuning.role import Place
from pipelines.tuning.runner import (
    TrialRunner,
    Watch,
    close_run,
    journal_of,
    new_trial,
    read_outcome,
    write_outcome,
)
from pipelines.tuning.search import Job
from pipelines.tuning.supervisor import Supervisor, spawn
from pipelines.tuning.trials import Trial
from pipelines.tuning.worker import RemoteOracle

LOOKS = 0.5
"""Seconds between two looks at what goes on."""
SILENCE = 60.0
"""Seconds after which a worker elsewhere that says nothing is taken for dead, and its trial given to another one."""
GOODBYE = 30.0
"""Seconds in which the workers of a search that is over come to their ends."""
NOBODY = 600.0
"""Seconds that a chief waits for any worker to come."""


def with_workers(count: int, threads: int | None) -> Callable[[Job], None]:
    """Have the trials trained by so many processes on this machine, of so many CPU threads each."""

    def conduct(job: Job) -> None:
        with Chief(job.oracle) as chief:
            audience = _Audience(job, chief)
            each = threads or max(1, cores() // count)

            def start(worker: str) -> subprocess.Popen[bytes]:
                command = [sys.executable, "-m", "pipelines.cli", "tune", str(job.folder.path / "recipe.yaml")]
                command += ["--role", "worker", "--chief", chief.address, "--id", worker, "--threads", str(each)]
                # Several processes on one GPU: each takes of its memory what it needs, and not all.
                return spawn(command, job.folder.path / f"{worker}.log", {"TF_FORCE_GPU_ALLOW_GROWTH": "true"})

            names = [f"worker-{number}" for number in range(1, count + 1)]
            with Supervisor(names, start, ended=lambda name: chief.ended[name], fail=audience.fail) as supervisor:
                while not chief.is_done():
                    audience.look()
                    supervisor.poll()
                    for worker in chief.silent(2 * SILENCE):
                        chief.release(worker)
                        supervisor.kill(worker)  # it hangs
                    for worker in supervisor.given_up:
                        chief.release(worker)
                    if supervisor.all_gone and not chief.is_done():
                        reasons = " ".join(supervisor.given_up.values()) or "None of them found anything to do."
                        raise Stopped(
                            f"No worker is left. {reasons} What they said is in {job.folder.path}/worker-*.log; the "
                            "search can be gone on with: --resume."
                        )
                    time.sleep(LOOKS)
                audience.look()
                _wait(supervisor)

    return conduct


def as_chief(place: Place) -> Callable[[Job], None]:
    """Wait for workers elsewhere to train the trials."""

    def conduct(job: Job) -> None:
        with Chief(job.oracle, place.host, place.port) as chief:
            audience = _Audience(job, chief)
            heard = time.monotonic()
            while not chief.is_done():
                audience.look()
                for worker in chief.silent(SILENCE):
                    chief.release(worker)
                if job.oracle.ongoing_trials:
                    heard = time.monotonic()
                elif time.monotonic() - heard >= NOBODY:
                    raise Stopped(
                        f"No worker has come to {chief.address} for {NOBODY / 60:.0f} minutes; start some, and the "
                        "chief again with --resume."
                    )
                time.sleep(LOOKS)
            audience.look()
            end = time.monotonic() + GOODBYE
            while chief.untold(GOODBYE) and time.monotonic() < end:
                time.sleep(0.1)

    return conduct


def take_part(place: Place, recipe: Recipe, watch: Callable[[Plan], Watch]) -> int:
    """Train trials for the chief at `place` until there are no more; how many.

    Raises UsageError where the chief searches over another recipe, Stopped where it is gone, PipelineError where its
    folder cannot be seen from here.
    """
    with RemoteOracle(f"{place.host}:{place.port}", place.worker) as oracle:
        names = oracle.get_space().values
        if SEARCH not in names:
            raise PipelineError(f"The chief at {oracle.address} is none of this program: it names no search.")
        folder = SearchFolder(names[SEARCH])
        searched, plan, digest = folder.read()
        if not is_same_search(searched, recipe):
            raise UsageError(
                f"The chief at {oracle.address} searches over another recipe than {recipe.name} with these settings; "
                "give both the same recipe and the same --set."
            )
        data = load_dataset(**searched.dataset.options)
        if data.digest != digest:
            raise PipelineError(
                f"The dataset {data.name} has the digest {data.digest[:12]} here and {digest[:12]} at the chief; give "
                "all the same data."
            )
        runner = TrialRunner(searched, plan, folder, data, watch(plan), look=oracle.check)
        work(oracle, place.worker, runner)
    return runner.count


def use_threads(count: int) -> None:
    """Compute with so many CPU threads. Raises UsageError where TensorFlow has begun to compute."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as error:
        raise UsageError("The number of threads cannot be changed any more; name it at the start.") from error


class _Audience:
    """Tells a search's watch what workers do."""

    def __init__(self, job: Job, chief: Chief) -> None:
        self.job, self.chief = job, chief
        ended = [number for number, trial in job.oracle.trials.items() if trial.status in ("COMPLETED", "FAILED")]
        self.begun, self.ended = set(ended), set(ended)

    def look(self) -> None:
        """Raise Stopped where the chief failed."""
        check()
        if self.chief.error is not None:
            raise Stopped(f"The search's chief failed: {self.chief.error}") from self.chief.error
        with self.chief.turn() as oracle:
            states = {number: trial.status for number, trial in oracle.trials.items()}
        for number, status in states.items():
            if number not in self.begun:
                self.begun.add(number)
                self.job.watch.begin(self._trial(number))
            if status in ("COMPLETED", "FAILED") and number not in self.ended:
                self.ended.add(number)
                self.job.watch.end(self._trial(number))

    def fail(self, worker: str, reason: str) -> bool:
        """End a worker's trial, which killed it again and again, as failed."""
        ongoing = self.job.oracle.ongoing_trials.get(worker)
        if ongoing is None:
            return False
        trial = read_outcome(self.job.folder, int(ongoing.trial_id))
        if trial is None:
            journal = journal_of(self.job.recipe, self.job.folder, int(ongoing.trial_id))
            run_id = journal.run_id if journal else ""
            failed = replace(new_trial(self.job.recipe, ongoing), run_id=run_id, error=reason)
            write_outcome(self.job.folder, failed)
            close_run(self.job.recipe, self.job.folder, failed)
        return self.chief.fail(worker, reason) is not None

    def _trial(self, number: str) -> Trial:
        outcome = read_outcome(self.job.folder, int(number))
        return outcome or new_trial(self.job.recipe, self.job.oracle.trials[number])


def _wait(supervisor: Supervisor) -> None:
    """For workers that know that there are no more trials to come to their end."""
    end = time.monotonic() + GOODBYE
    while not supervisor.all_gone and time.monotonic() < end:
        time.sleep(0.1)
        supervisor.poll()
