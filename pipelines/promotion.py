"""A candidate becomes the stable version, if the gate lets it through.

Before the gate it is served as `NAME@candidate` alone, so that no request for `NAME` reaches it.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipelines.errors import PipelineError, UsageError
from pipelines.gate import Limits, Report, examine
from pipelines.release_log import Change
from pipelines.switching import PATIENCE, OnStep, at_work, carry_out, move
from pipelines.tracking import connect as connect_tracking
from serving.artifact import read_lineage
from serving.client import GrpcClient, wait_until_available
from serving.errors import ServingError
from serving.parity import SAME_NETWORK
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

    Without a version, an interrupted promotion goes on; with another one than that, it is given up for it. Raises
    GateRefusedError where the gate refuses, UsageError for a version that cannot be promoted, ServingError or
    PipelineError for a server or a tracking store that does not do its part; the same call again then goes on.
    """
    with at_work(name, addresses) as (repository, journal, servers):
        pending, served = journal.pending, repository.served_of(name)
        if pending and version in (None, pending.version) and pending.action == "promote":
            return Promotion(carry_out(repository, journal, name, pending, servers, on_step), None)
        if pending and version is None:
            raise UsageError(
                f"A rollback of {name} was interrupted; finish it with `zoo rollback {name}`, or name the version that "
                "is to be stable."
            )
        chosen = _chosen(repository, name, version, served)
        if chosen == served.stable:
            move(repository, name, chosen, servers, journal.tolerance(chosen), on_step)
            journal.give_up()
            return Promotion(Change("promote", chosen, journal.before(chosen)), None)
        on_step("offer")
        _offer(repository, name, served, chosen, servers)
        on_step("gate")
        report = examine(repository, name, chosen, served.stable, servers, limits)
        on_step("record")
        _record(report)
        if not report.passed:
            raise GateRefusedError(report)
        tolerance = max(limits.tolerance, SAME_NETWORK)
        change = journal.begin(Change("promote", chosen, served.stable, tolerance=tolerance))
        return Promotion(carry_out(repository, journal, name, change, servers, on_step), report)


def _chosen(repository: ModelRepository, name: str, version: int | None, served: Served) -> int:
    """The version that is meant, of which all is known that the gate needs."""
    existing = repository.versions(name)
    listed = ", ".join(map(str, existing))
    if version is None and served.candidate is None:
        raise UsageError(
            f"{name} has no candidate; `zoo publish RUN` makes one, or name one of its versions: {listed}."
        )
    chosen = version if version is not None else served.candidate
    if chosen not in existing or chosen is None:
        raise UsageError(f"{name} has no version {chosen}; it has {listed}.")
    if not read_lineage(repository.version_folder(name, chosen)).get("run_id"):
        raise UsageError(
            f"{repository.version_folder(name, chosen)} has no lineage that can be read, so that nothing tells which "
            "run it is of; move that folder away and publish its run anew."
        )
    return chosen


def _offer(
    repository: ModelRepository, name: str, served: Served, candidate: int, servers: Sequence[GrpcClient]
) -> None:
    """Have each server load the candidate, under the name that nobody asks for who has not to.

    One that a server cannot load is taken back: TensorFlow Serving does not start again with it.
    """
    # Beside the stable version is what an interrupted promotion left there, which this one takes the place of.
    repository.serve(name, replace(served, candidate=candidate, beside=()))
    try:
        for server in servers:
            server.reload(repository.config())
            wait_until_available(server, candidate_name(name), candidate, PATIENCE)
    except ServingError as error:
        former = served.candidate if served.candidate != candidate else None
        repository.serve(name, replace(served, candidate=former, beside=()))
        for server in servers:
            with contextlib.suppress(ServingError):
                server.reload(repository.config())
        raise ServingError(f"{error} Version {candidate} is no candidate any more.") from error


def _record(report: Report) -> None:
    """Log the report in the run that made the version."""
    client = connect_tracking()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    client.log_dict(report.run_id, report.as_dict(), f"gate/version-{report.version}-{stamp}.json")
    tag = "passed" if report.passed else "refused: " + "; ".join(report.reasons)
    client.set_model_version_tag(report.model, str(report.version), "zoo.gate", tag[:500])
