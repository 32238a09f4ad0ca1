"""Moving the label `stable` to another version on running servers, and the way back.

A label moves in two steps, because a model server moves one only to a version that it has loaded: the version is served
beside the stable one first, and only then takes the label. What is interrupted, at any point, is in the release log:
the same command again finishes it, and `rollback` undoes an interrupted promotion.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Literal

from pipelines.errors import PipelineError, UsageError
from pipelines.home import models_folder
from pipelines.registry import repair_aliases
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect as connect_tracking
from serving.client import GrpcClient, wait_until_available
from serving.parity import SAME_NETWORK, difference_from_export
from serving.repository import STABLE, ModelRepository, Served

Step = Literal["offer", "gate", "record", "load", "switch", "reload", "check", "alias", "done"]
OnStep = Callable[[Step], None]
PATIENCE = 120.0
"""Seconds that a server gets for a reload, for loading a version, and for letting an old one go."""


def rollback(name: str, addresses: Sequence[str], on_step: OnStep = lambda step: None) -> Change:
    """Make the version stable again that was before the present one; or undo a promotion that was interrupted.

    Raises UsageError where there was none before.
    """
    with at_work(name, addresses) as (repository, log, servers):
        pending, served = log.pending, repository.served().get(name, Served())
        if pending and pending.action == "rollback":
            change = pending
        elif pending:
            if served.candidate is None and pending.version is not None:
                repository.serve(name, replace(served, candidate=pending.version))
            change = log.begin(Change("rollback", pending.previous, pending.version))
        else:
            change = log.begin(Change("rollback", _before(repository, log, name, served), served.stable))
        return carry_out(repository, log, change, servers, on_step)


@contextmanager
def at_work(name: str, addresses: Sequence[str]) -> Iterator[tuple[ModelRepository, ReleaseLog, list[GrpcClient]]]:
    """The repository, locked, the model's log, and a client of each server."""
    repository = ModelRepository(models_folder())
    if not repository.versions(name):
        known = ", ".join(repository.models()) or "none"
        raise UsageError(f"No version of '{name}' is published; published are: {known}. `zoo publish RUN` makes one.")
    with ExitStack() as stack:
        servers = [stack.enter_context(GrpcClient(address, PATIENCE)) for address in addresses]
        for server in servers:
            server.check_reachable()
        stack.enter_context(repository.lock())
        yield repository, ReleaseLog(repository.root / name), servers


def _before(repository: ModelRepository, log: ReleaseLog, name: str, served: Served) -> int:
    if served.stable is None:
        raise UsageError(f"{name} has no stable version to go back from.")
    previous = log.before(served.stable)
    if previous is None:
        raise UsageError(f"Nothing was stable before {name} version {served.stable}, so there is no way back.")
    if previous not in repository.versions(name):
        raise UsageError(
            f"{name} version {previous}, which was stable before, is not in {repository.root / name} any more; put it "
            "back, or promote another version."
        )
    return previous


def carry_out(
    repository: ModelRepository, log: ReleaseLog, change: Change, servers: Sequence[GrpcClient], on_step: OnStep
) -> Change:
    """Do what the log says is to be done, from wherever an interrupted call left it."""
    name = log.path.parent.name
    served = repository.served().get(name, Served())
    move(repository, name, change.version, served, servers, on_step)
    log.finish(change)
    on_step("done")
    return change


def move(
    repository: ModelRepository,
    name: str,
    version: int | None,
    served: Served,
    servers: Sequence[GrpcClient],
    on_step: OnStep,
) -> None:
    """Serve `version` as the stable one, or none, on each of the servers."""
    if version is not None and version != served.stable:
        on_step("load")
        repository.serve(name, replace(served, beside=(version,)))
        for server in servers:
            server.reload(repository.config())
            wait_until_available(server, name, version, PATIENCE)
    on_step("switch")
    candidate = served.candidate if served.candidate != version else None
    repository.serve(name, Served(stable=version, candidate=candidate))
    on_step("reload")
    for server in servers:
        server.reload(repository.config())
    on_step("check")
    if version is not None:
        for server in servers:
            _check(server, repository, name, version)
    on_step("alias")
    repair_aliases(connect_tracking(), name, Served(stable=version, candidate=candidate))


def _check(server: GrpcClient, repository: ModelRepository, name: str, version: int) -> None:
    """Whether the stable endpoint, asked with the label and without, is this version and answers as it should."""
    folder = repository.version_folder(name, version)
    deadline = time.monotonic() + PATIENCE
    for label in (STABLE, None):
        apart, answered = difference_from_export(server, name, None, label, folder)
        while answered != version and time.monotonic() < deadline:
            time.sleep(0.1)  # the old version goes when its last request is done
            apart, answered = difference_from_export(server, name, None, label, folder)
        if answered != version:
            raise PipelineError(
                f"{server.address} still answers for {name} with version {answered}, not {version}; look at its log, "
                "then call again."
            )
        if apart > SAME_NETWORK:
            raise PipelineError(
                f"{server.address} answers for {name} version {version} otherwise than was exported, by {apart:.1e}; "
                f"`zoo rollback {name}` goes back."
            )
