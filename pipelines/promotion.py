"""A candidate becomes the stable version, if the gate lets it through.

Before the gate it is served as `NAME@candidate` alone, so that no request for `NAME` reaches it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipelines.errors import PipelineError, UsageError
from pipelines.gate import Limits, Report, examine
from pipelines.release_log import Change
from pipelines.switching import PATIENCE, OnStep, at_work, carry_out, move
from pipelines.tracking import connect as connect_tracking
from serving.client import GrpcClient, wait_until_available
from serving.repository import ModelRepository, Served, candidate_name


class GateRefusedError(PipelineError):
    """The gate did not let a version through; `report` says what it found."""

    def __init__(self, report: Report) -> None:
        self.report = report
        reasons = "; ".join(report.reasons)
        stays = "nothing is" if report.stable is None else f"version {report.stable} stays"
        super().__init__(f"{report.model} version {report.version} is refused, and {stays} stable: {reasons}.")


@dataclass(frozen=True)
class Promotion:
    """A promotion that is done; `report` is None where an earlier call had passed the gate already."""

    change: Change
    report: Report | None


def promote(
    name: str,
    version: int | None,
    addresses: Sequence[str],
    limits: Limits,
    on_step: OnStep = lambda step: None,
) -> Promotion:
    """Make a version, by default the candidate, the stable one on each of the servers, if the gate lets it through.

    Raises GateRefusedError where it does not, UsageError for a version that cannot be promoted, ServingError or
    PipelineError for a server or a tracking store that does not do its part; the same call again then goes on.
    """
    with at_work(name, addresses) as (repository, log, servers):
        pending, served = log.pending, repository.served().get(name, Served())
        if pending:
            _same(name, pending, version)
            return Promotion(carry_out(repository, log, pending, servers, on_step), None)
        chosen = _chosen(repository, name, version, served)
        if chosen == served.stable:
            change = Change("promote", chosen, log.before(chosen))
            move(repository, name, chosen, served, servers, on_step)
            return Promotion(change, None)
        on_step("offer")
        _offer(repository, name, replace(served, candidate=chosen), servers)
        on_step("gate")
        report = examine(repository, name, chosen, served.stable, servers, limits)
        on_step("record")
        _record(report)
        if not report.passed:
            raise GateRefusedError(report)
        change = log.begin(Change("promote", chosen, served.stable))
        return Promotion(carry_out(repository, log, change, servers, on_step), report)


def _same(name: str, pending: Change, version: int | None) -> None:
    """Whether an interrupted change is the promotion that is asked for."""
    if pending.action == "rollback":
        raise UsageError(f"A rollback of {name} was interrupted; finish it first, with `zoo rollback {name}`.")
    if version not in (None, pending.version):
        raise UsageError(
            f"The promotion of {name} version {pending.version} was interrupted; finish it with `zoo promote {name}`, "
            f"or undo it with `zoo rollback {name}`, before version {version} has its turn."
        )


def _chosen(repository: ModelRepository, name: str, version: int | None, served: Served) -> int:
    existing = repository.versions(name)
    if version is None and served.candidate is None:
        raise UsageError(
            f"{name} has no candidate; `zoo publish RUN` makes one, or name one of its versions: {_listed(existing)}."
        )
    chosen = version if version is not None else served.candidate
    if chosen not in existing or chosen is None:
        raise UsageError(f"{name} has no version {chosen}; it has {_listed(existing)}.")
    return chosen


def _offer(repository: ModelRepository, name: str, served: Served, servers: Sequence[GrpcClient]) -> None:
    """Have each server load the candidate, under a name that nobody asks for who has not to."""
    repository.serve(name, served)
    candidate = served.candidate
    for server in servers:
        server.reload(repository.config())
        wait_until_available(server, candidate_name(name), candidate or 0, PATIENCE)


def _record(report: Report) -> None:
    """Log the report in the run that made the version."""
    client = connect_tracking()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    client.log_dict(report.run_id, report.as_dict(), f"gate/version-{report.version}-{stamp}.json")
    tag = "passed" if report.passed else "refused: " + "; ".join(report.reasons)
    client.set_model_version_tag(report.model, str(report.version), "zoo.gate", tag[:500])


def _listed(versions: Sequence[int]) -> str:
    return ", ".join(map(str, versions))
