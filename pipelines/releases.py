"""What is published: which versions there are, where they come from, which are served, and by whom."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlflow.exceptions import MlflowException

from pipelines.errors import UsageError
from pipelines.home import models_folder
from pipelines.registry import CONTENT_HASH, repair_aliases
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect as connect_tracking
from serving.artifact import content_hash, read_lineage
from serving.client import Client
from serving.errors import ServingError
from serving.parity import SAME_NETWORK, difference_from_export
from serving.repository import CANDIDATE, STABLE, ModelRepository, Served, candidate_name

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


def list_versions(reference: str | None, clients: Sequence[Client] = ()) -> list[Version]:
    """The versions of a model by its name, those that come from a run, a commit or a dataset by the start of its id or
    digest, or all; oldest first.

    Raises UsageError where there is none.
    """
    repository = ModelRepository(models_folder())
    served = repository.served()
    names = repository.models()
    found = []
    for name in names:
        states = {client.address: _states(client, name) for client in clients}
        for number in repository.versions(name):
            facts = read_lineage(repository.version_folder(name, number))
            if reference in (None, name) or _comes_from(facts, reference or ""):
                found.append(_version(name, number, facts, served.get(name, Served()), states))
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


def repair_all() -> list[str]:
    """Let MLflow's aliases say what `models.config` says, for every model; a sentence for each that did not."""
    repository = ModelRepository(models_folder())
    with repository.lock():
        served = repository.served()
        client = connect_tracking()
        done = []
        for name in repository.models():
            try:
                done += repair_aliases(client, name, served.get(name, Served()))
            except MlflowException as error:
                done.append(
                    f"MLflow's registry does not do as asked about {name}: {' '.join(str(error).split())[:200]}"
                )
    return done


@dataclass(frozen=True)
class Proof:
    """Whether a version is what its run exported."""

    model: str
    version: int
    run_id: str | None
    content_hash: str
    """SHA-256 of the files as they are now."""
    problems: list[str]
    """Sentences; empty where all agrees."""
    answered: list[str]
    """The servers that gave the network's own answers to the inputs that lie beside it."""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "holds": self.holds}


def verify(version: Version, clients: Sequence[Client]) -> Proof:
    """Compare the files' hash with the one beside them and the one in MLflow's registry, which the export wrote; and,
    where it is served, the servers' answers with those that the network gave when it was exported."""
    folder = ModelRepository(models_folder()).version_folder(version.model, version.version)
    facts = read_lineage(folder)
    now = content_hash(folder)
    problems = []
    if not facts:
        problems.append("it has no lineage.json that can be read")
    elif now != facts.get("content_hash"):
        problems.append(
            f"its files have the hash {now[:12]}, and its lineage says {str(facts.get('content_hash'))[:12]}"
        )
    problems += _registry_problems(version, now)
    answered = []
    for client in clients if version.label in (STABLE, CANDIDATE) and not problems else ():
        name = candidate_name(version.model) if version.label == CANDIDATE else version.model
        try:
            apart, _ = difference_from_export(client, name, version.version, None, folder)
        except ServingError as error:
            problems.append(str(error).rstrip("."))
            continue
        if apart <= SAME_NETWORK:
            answered.append(client.address)
        else:
            problems.append(f"{client.address} answers otherwise than the network did, by {apart:.1e}")
    return Proof(version.model, version.version, version.run_id, now, problems, answered)


def _registry_problems(version: Version, now: str) -> list[str]:
    try:
        registered = connect_tracking().get_model_version(version.model, str(version.version))
    except MlflowException:
        return ["MLflow's registry does not have it"]
    exported = registered.tags.get(CONTENT_HASH)
    problems = []
    if exported is None:
        problems.append("MLflow's registry does not tell what its run exported")
    elif exported != now:
        problems.append(f"its files have the hash {now[:12]}, and its run exported {exported[:12]}, says MLflow")
    if registered.run_id != version.run_id:
        problems.append(f"its lineage names run {version.run_id}, MLflow's registry {registered.run_id}")
    return problems
