"""Moving the label `stable` to another version on running servers, and the way back.

A model server gives a label only to a version that it has loaded, and TensorFlow Serving refuses a whole config that
asks for more. So the version is served beside the stable one first, and takes the label in a second reload. What is
interrupted, at any point, is in the release log: the same command again finishes it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Literal

from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError, UsageError
from pipelines.home import models_folder
from pipelines.passwords import on_one_line
from pipelines.registry import repair_aliases
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect as connect_tracking
from serving.artifact import read_reference
from serving.client import GrpcClient, wait_until_available
from serving.errors import ServingError
from serving.parity import difference_from_export
from serving.repository import STABLE, ModelRepository, Served

Step = Literal["offer", "gate", "record", "load", "check", "switch", "reload", "alias", "done"]
OnStep = Callable[[Step], None]
PATIENCE = 120.0
"""Seconds that a server gets for a reload, for loading a version, and for letting an old one go."""
log = logging.getLogger(__name__)


def rollback(name: str, addresses: Sequence[str], on_step: OnStep = lambda step: None) -> Change:
    """Make the version stable again that was before the present one; or undo a promotion that was interrupted.

    Raises UsageError where there was none before, or it is not there any more.
    """
    with at_work(name, addresses) as (repository, journal, servers):
        pending, served = journal.pending, repository.served_of(name)
        if pending and pending.action == "rollback":
            change = pending
        elif pending:
            _check_there(repository, name, pending.previous)
            if served.candidate is None and pending.version in repository.versions(name):
                repository.serve(name, replace(served, candidate=pending.version))
            change = journal.begin(Change("rollback", pending.previous, pending.version))
        else:
            change = journal.begin(Change("rollback", _before(repository, journal, name, served), served.stable))
        return carry_out(repository, journal, name, change, servers, on_step)


def withdraw(name: str, addresses: Sequence[str]) -> int:
    """Serve a model's candidate no more, and return which version that was. Raises UsageError where there is none."""
    with at_work(name, addresses) as (repository, journal, servers):
        served = repository.served_of(name)
        if served.candidate is None:
            raise UsageError(f"{name} has no candidate to withdraw.")
        if journal.pending:
            raise UsageError(f"The promotion of {name} was interrupted; finish it or undo it first (`zoo releases`).")
        left = replace(served, candidate=None)
        repository.serve(name, left)
        for server in servers:
            server.reload(repository.config())
        _copy_aliases(name, left)
        return served.candidate


@contextmanager
def at_work(name: str, addresses: Sequence[str]) -> Iterator[tuple[ModelRepository, ReleaseLog, list[GrpcClient]]]:
    """The repository, locked, the model's log, and a client of each server. Raises UsageError for an unknown model."""
    repository = ModelRepository(models_folder())
    if name not in repository.models():
        known = ", ".join(repository.models()) or "none"
        raise UsageError(f"No version of '{name}' is published; published are: {known}. `zoo publish RUN` makes one.")
    with ExitStack() as stack:
        servers = [stack.enter_context(GrpcClient(address, PATIENCE)) for address in addresses]
        for server in servers:
            server.check_reachable()
        stack.enter_context(repository.lock())
        yield repository, ReleaseLog(repository.root / name), servers


def carry_out(
    repository: ModelRepository,
    journal: ReleaseLog,
    name: str,
    change: Change,
    servers: Sequence[GrpcClient],
    on_step: OnStep,
) -> Change:
    """Do what the log says is to be done, from wherever an interrupted call left it."""
    _check_there(repository, name, change.version)
    tolerance = change.tolerance if change.version is None else max(change.tolerance, journal.tolerance(change.version))
    move(repository, name, change.version, servers, tolerance, on_step)
    journal.finish(change)
    on_step("done")
    return change


def move(
    repository: ModelRepository,
    name: str,
    version: int | None,
    servers: Sequence[GrpcClient],
    tolerance: float,
    on_step: OnStep,
) -> None:
    """Serve `version` as the stable one, or none, on each of the servers.

    The label moves when each of them has given the version's own answers, to `tolerance` of a probability.
    """
    served = repository.served_of(name)
    if version is not None:
        on_step("load")
        if version != served.stable:
            repository.serve(name, replace(served, beside=(version,)))
        for server in servers:
            _load_beside(server, repository, name, version)
        on_step("check")
        for server in servers:
            _check(server, repository, name, version, tolerance)
    on_step("switch")
    left = Served(stable=version, candidate=served.candidate if served.candidate != version else None)
    repository.serve(name, left)
    on_step("reload")
    for server in servers:
        server.reload(repository.config())
        if version is not None:
            _wait_until_it_answers(server, name, version)
    on_step("alias")
    _copy_aliases(name, left)


def _load_beside(server: GrpcClient, repository: ModelRepository, name: str, version: int) -> None:
    """Have a server load a version beside the one that its label is on, whatever that is.

    It need not be what `models.config` says: the server may have been away while that was changed, and refuse it since.
    """
    served = repository.served_of(name)
    stable = server.version_of(name)
    while True:
        beside = tuple(sorted({*served.beside, version} - {stable}))
        try:
            server.reload(repository.config_with(name, Served(stable, served.candidate, beside)))
            break
        except ServingError:
            # Did it read models.config meanwhile, and move its label itself?
            before, stable = stable, server.version_of(name)
            if stable == before:
                raise
    wait_until_available(server, name, version, PATIENCE)


def _check(server: GrpcClient, repository: ModelRepository, name: str, version: int, tolerance: float) -> None:
    """Whether what a server has loaded answers as the network did when it was exported."""
    apart, _ = difference_from_export(server, name, version, None, repository.version_folder(name, version))
    if apart > tolerance:
        raise PipelineError(
            f"{server.address} answers for {name} version {version} otherwise than its network did, by {apart:.1e}, so "
            f"that the label stays where it is; `zoo promote {name} VERSION` takes another version."
        )


def _wait_until_it_answers(server: GrpcClient, name: str, version: int) -> None:
    """The label moves with the reload; the old version goes when its last request is done."""
    deadline = time.monotonic() + PATIENCE
    for label in (STABLE, None):
        while (answering := server.version_of(name, label)) != version:
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"{server.address} still answers for {name} with version {answering}, not {version}; look at its "
                    "log, then call again."
                )
            time.sleep(0.1)


def _copy_aliases(name: str, served: Served) -> None:
    """A copy for MLflow's readers. What is served does not wait for it."""
    try:
        repair_aliases(connect_tracking(), name, served)
    except (MlflowException, PipelineError, OSError) as error:
        reason = on_one_line(str(error), 200)
        log.warning("MLflow's aliases of %s are not moved (%s); `zoo releases` repairs them.", name, reason)


def _before(repository: ModelRepository, journal: ReleaseLog, name: str, served: Served) -> int:
    if served.stable is None:
        raise UsageError(f"{name} has no stable version to go back from.")
    previous = journal.before(served.stable)
    if previous is None:
        raise UsageError(f"Nothing was stable before {name} version {served.stable}, so there is no way back.")
    _check_there(repository, name, previous)
    return previous


def _check_there(repository: ModelRepository, name: str, version: int | None) -> None:
    """Whether a version can be served, before anything is changed."""
    if version is None:
        return
    if version not in repository.versions(name):
        raise UsageError(
            f"{name} version {version} is not in {repository.root / name} any more; put it back, or make another one "
            f"stable with `zoo promote {name} VERSION`."
        )
    read_reference(repository.version_folder(name, version))
