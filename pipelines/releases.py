"""What is published: which versions there are, where they come from, which are served, and by whom."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError, UsageError
from pipelines.home import models_folder
from pipelines.passwords import on_one_line
from pipelines.registry import CONTENT_HASH, repair_aliases
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect as connect_tracking
from serving.artifact import content_hash, read_lineage
from serving.client import Client, GrpcClient
from serving.errors import ServingError
from serving.parity import difference_from_export
from serving.repository import CANDIDATE, STABLE, BusyError, ModelRepository, Served, candidate_name

SHORTEST = 4
"""Characters that the start of a run's id, a commit or a digest has at least."""


@dataclass(frozen=True)
class Version:
    """A version in the repository."""

    model: str
    version: int
    label: str
    """`stable`, `candidate`, `beside` while a label moves to it, or empty where it is not served."""
    run_id: str | None
    commit: str | None
    dataset_digest: str | None
    validation_accuracy: float | None
    test_accuracy: float | None
    servers: dict[str, str] = field(default_factory=dict)
    """Its state on each server that answers: AVAILABLE, LOADING…; empty where it does not know it."""
    stable_at: list[str] = field(default_factory=list)
    """The servers where it is what answers for the label `stable`."""


def list_versions(reference: str | None, clients: Sequence[GrpcClient] = ()) -> list[Version]:
    """The versions of a model by its name, those that come from a run, a commit or a dataset by the start of its id or
    digest, or all; oldest first.

    Raises UsageError where there is none.
    """
    repository = ModelRepository(models_folder())
    served = repository.served()
    names = repository.models()
    found = []
    for name in names:
        all_facts = {
            number: read_lineage(repository.version_folder(name, number)) for number in repository.versions(name)
        }
        wanted = {
            number: facts
            for number, facts in all_facts.items()
            if reference in (None, name) or _comes_from(facts, reference or "")
        }
        if not wanted:
            continue  # the servers need not be asked about it
        states = {client.address: _states(client, name) for client in clients}
        stable = {client.address: client.version_of(name) for client in clients}
        for number, facts in wanted.items():
            stable_at = [address for address, version in stable.items() if version == number]
            version = _version(name, number, facts, served.get(name, Served()), states)
            found.append(replace(version, stable_at=stable_at))
    if not found and reference is not None:
        known = ", ".join(names) or "none"
        raise UsageError(
            f"Nothing published is called '{reference}' or comes from such a run, commit or dataset; published are: "
            f"{known}."
        )
    return found


def _version(
    name: str, number: int, facts: dict[str, Any], served: Served, states: dict[str, dict[tuple[str, int], str]]
) -> Version:
    label = next((label for label, version in served.labels.items() if version == number), "")
    if not label and number in served.beside:
        label = "beside"
    served_name = candidate_name(name) if label == CANDIDATE else name
    return Version(
        name,
        number,
        label,
        facts.get("run_id"),
        facts.get("commit"),
        facts.get("dataset_digest"),
        (facts.get("validation") or {}).get("accuracy"),
        facts.get("metrics", {}).get("test_accuracy"),
        {address: found.get((served_name, number), "") for address, found in states.items()},
    )


def _comes_from(facts: dict[str, Any], reference: str) -> bool:
    origins = [facts.get("run_id"), facts.get("commit"), facts.get("dataset_digest"), *facts.get("members", [])]
    return len(reference) >= SHORTEST and any(origin and origin.startswith(reference) for origin in origins)


def _states(client: Client, name: str) -> dict[tuple[str, int], str]:
    """Of the versions that a server has or had, by served name and version."""
    found: dict[tuple[str, int], str] = {}
    for served_name in (name, candidate_name(name)):
        try:
            found |= {(served_name, status.version): status.state for status in client.status(served_name)}
        except ServingError:  # it does not know the name
            continue
    return found


def pending_changes() -> dict[str, Change]:
    """The promotions and rollbacks that were interrupted, by model."""
    repository = ModelRepository(models_folder())
    logs = {name: ReleaseLog(repository.root / name).pending for name in repository.models()}
    return {name: change for name, change in logs.items() if change}


def repair_all() -> tuple[list[str], str]:
    """Let MLflow's aliases say what `models.config` says, for every model: a sentence for each that did not, and the
    reason why no more could be done, or nothing."""
    repository = ModelRepository(models_folder())
    done: list[str] = []
    try:
        with repository.lock(wait=False):
            served, client = repository.served(), connect_tracking()
            for name in repository.models():
                done += repair_aliases(client, name, served.get(name, Served()))
    except BusyError:
        return done, "another command is publishing or promoting"
    except (MlflowException, PipelineError, OSError) as error:  # away, refusing, or a repository that is only read
        return done, on_one_line(str(error), 200)
    return done, ""


@dataclass(frozen=True)
class Proof:
    """Whether a version is what its run exported."""

    model: str
    version: int
    run_id: str | None
    content_hash: str
    """SHA-256 of the files as they are now."""
    problems: list[str]
    """What contradicts it, as sentences."""
    unasked: list[str]
    """What could not be asked, as sentences; a proof without that is none."""
    answered: list[str]
    """The servers that gave the network's own answers to the inputs that lie beside it."""

    @property
    def holds(self) -> bool:
        """Whether all was asked and agrees."""
        return not self.problems and not self.unasked

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "holds": self.holds}


def verify(version: Version, clients: Sequence[GrpcClient]) -> Proof:
    """Compare the files' hash with the one beside them and the one in MLflow's registry, which the export wrote; and,
    where it is served, the servers' answers with those that the network gave when it was exported."""
    repository = ModelRepository(models_folder())
    folder = repository.version_folder(version.model, version.version)
    facts = read_lineage(folder)
    now = content_hash(folder)
    proof = Proof(version.model, version.version, version.run_id, now, [], [], [])
    if not facts:
        proof.problems.append("it has no lineage.json that can be read")
    elif now != facts.get("content_hash"):
        exported = str(facts.get("content_hash"))
        proof.problems.append(f"its files have the hash {now[:12]}, and its lineage says {exported[:12]}")
    _ask_registry(proof)
    if version.label in (STABLE, CANDIDATE) and not proof.problems:
        tolerance = ReleaseLog(repository.root / version.model).tolerance(version.version)
        for client in clients:
            _ask_server(proof, client, version.label, folder, tolerance)
    return proof


def _ask_registry(proof: Proof) -> None:
    """What MLflow wrote down when the version was exported."""
    try:
        registered = connect_tracking().get_model_version(proof.model, str(proof.version))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            proof.problems.append("MLflow's registry does not have it")
        else:
            proof.unasked.append(f"MLflow's registry ({on_one_line(str(error), 100)})")
        return
    exported = registered.tags.get(CONTENT_HASH)
    if exported is None:
        proof.unasked.append("what its run exported, which MLflow's registry does not tell")
    elif exported != proof.content_hash:
        now = proof.content_hash[:12]
        proof.problems.append(f"its files have the hash {now}, and its run exported {exported[:12]}, says MLflow")
    if registered.run_id != proof.run_id:
        proof.problems.append(f"its lineage names run {proof.run_id}, MLflow's registry {registered.run_id}")


def _ask_server(proof: Proof, client: GrpcClient, label: str, folder: Path, tolerance: float) -> None:
    """Whether what answers as the stable version, or as the candidate, is this one."""
    name, asked = (proof.model, STABLE) if label == STABLE else (candidate_name(proof.model), None)
    try:
        apart, version = difference_from_export(client, name, None, asked, folder)
    except ServingError as error:
        proof.unasked.append(str(error).rstrip("."))
        return
    if version != proof.version:
        proof.problems.append(f"{client.address} answers as {label} with version {version}")
    elif apart > tolerance:
        proof.problems.append(f"{client.address} answers otherwise than the network did, by {apart:.1e}")
    else:
        proof.answered.append(client.address)
