"""A promotion, or a rollback, that is killed at any step: the old version serves on, and a second call finishes."""

import os
import signal
import subprocess
import sys

import pytest

from pipelines.gate import Limits
from pipelines.promotion import promote
from pipelines.release_log import ReleaseLog
from pipelines.switching import rollback
from serving.client import wait_until_available
from serving.repository import Served

NAME = "digits_cnn"
PROMOTION = ["offer", "gate", "record", "load", "check", "switch", "reload", "alias", "done"]
ROLLBACK = ["load", "check", "switch", "reload", "alias", "done"]
AFTER_SWITCH = ("reload", "alias", "done")

# Imports once, then forks for each line that it reads; a fork that is to be killed kills itself.
DRIVER = """
import os, pathlib, signal, sys
from serving.quiet import import_tensorflow
import_tensorflow()
from pipelines.gate import Limits
from pipelines.promotion import promote
from pipelines.switching import rollback

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    home, address, command, step, call = line.split()
    pid = os.fork()
    if pid == 0:
        os.environ["ZOO_HOME"] = home
        def on_step(name):
            if name == step and call == "-":
                kill()
            if name == step:
                setattr(pathlib.Path, call, kill)
        if command == "promote":
            promote("digits_cnn", None, [address], Limits(latency=60_000.0), on_step)
        else:
            rollback("digits_cnn", [address], on_step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def driver():
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    yield process
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture
def killed(driver, released, client):
    """Run a command that is killed as a step begins, or in place of a method of Path within that step."""

    def run(command, step, call="-"):
        driver.stdin.write(f"{released.home} {client.address} {command} {step} {call}\n")
        driver.stdin.flush()
        assert int(driver.stdout.readline()) == -signal.SIGKILL

    return run


@pytest.mark.parametrize("step", PROMOTION)
def test_a_promotion_killed_at_any_step_serves_on_and_is_finished_by_the_next(
    killed, released, client, answering, step
):
    killed("promote", step)
    if step in AFTER_SWITCH:  # models.config is written, and the server reads it
        wait_until_available(client, NAME, 2, 30)
    assert answering() in ((1, 2) if step in AFTER_SWITCH else (1,))
    assert answering(None) in ((1,) if step in PROMOTION[:4] else (1, 2))
    assert 1 in released.served.versions or step in AFTER_SWITCH

    promote(NAME, None if released.served.candidate else 2, [client.address], Limits(latency=60_000.0))
    assert released.served == Served(stable=2)
    assert released.aliases == {"stable": 2}
    assert (answering(), answering(None)) == (2, 2)
    log = ReleaseLog(released.repository.root / NAME)
    assert log.pending is None
    assert [(c.action, c.version, c.previous) for c in log.changes] == [("promote", 2, 1)]


@pytest.mark.parametrize("step", PROMOTION[4:-1])
def test_an_interrupted_promotion_is_undone_by_rollback(killed, released, client, answering, step):
    killed("promote", step)
    change = rollback(NAME, [client.address])
    assert (change.action, change.version, change.previous) == ("rollback", 1, 2)
    assert released.served == Served(stable=1, candidate=2)
    assert released.aliases == {"stable": 1, "candidate": 2}
    assert (answering(), answering(None)) == (1, 1)
    assert ReleaseLog(released.repository.root / NAME).pending is None


@pytest.mark.parametrize("step", ROLLBACK)
def test_a_rollback_killed_at_any_step_is_finished_by_the_next(killed, released, client, answering, step):
    promote(NAME, None, [client.address], Limits(latency=60_000.0))
    killed("rollback", step)
    assert answering() in (1, 2)
    if step != "done":  # done it is then, and a further call would go back further
        rollback(NAME, [client.address])
    assert released.served == Served(stable=1)
    assert released.aliases == {"stable": 1}
    assert (answering(), answering(None)) == (1, 1)
    log = ReleaseLog(released.repository.root / NAME)
    assert log.pending is None
    assert [(c.action, c.version) for c in log.changes] == [("promote", 2), ("rollback", 1)]


@pytest.mark.parametrize(("step", "call"), [("record", "write_text"), ("load", "replace"), ("switch", "replace")])
def test_killed_while_a_file_is_written(killed, released, client, answering, step, call):
    """In place of the system call: while the change is written down, and while models.config is rewritten."""
    killed("promote", step, call)
    assert answering() == 1
    promote(NAME, None, [client.address], Limits(latency=60_000.0))
    assert released.served == Served(stable=2)
    assert answering() == 2
