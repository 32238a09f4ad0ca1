"""Is what `models.config` serves there, and does the model server have it?"""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.doctor.finding import Finding
from pipelines.doctor.ports import model_server_answers
from pipelines.home import models_config, models_folder

if TYPE_CHECKING:
    from serving.client import VersionStatus
    from serving.model_server.config import ModelConfig

SERVER_SECONDS = 5.0
NAME = "model repository"


def repository() -> list[Finding]:
    """Whether `models.config` parses and each version that it serves is whole, with its lineage, where it says."""
    from serving.errors import ServingError

    try:
        models = served_models()
    except (ServingError, OSError, UnicodeDecodeError) as error:
        advice = "Mend it, or move it away and publish anew; a model server does not start with it."
        return [Finding(NAME, "problem", f"{models_config()}: {' '.join(str(error).split())}", advice)]
    if not models:
        advice = "zoo train digits_cnn, then zoo publish digits_cnn."
        return [Finding(NAME, "note", "nothing is published yet", advice)]
    faults = [fault for model in models for fault in _faults(model)]
    if faults:
        return faults
    names = ", ".join(f"{model.name} {'+'.join(map(str, served_versions(model)))}" for model in models)
    return [Finding(NAME, "ok", f"{models_folder()}: {names}")]


def readiness(server: str) -> list[Finding]:
    """The state on the model server of each served version. `server` is HOST:PORT, or the URL of its REST port."""
    from serving.client import connect
    from serving.errors import ServingError

    if not model_server_answers(server):
        advice = "zoo serve starts one; --server HOST:PORT asks another."
        return [Finding("model server", "note", f"none answers at {server}", advice)]
    try:
        models = served_models()
    except (ServingError, OSError, UnicodeDecodeError):
        models = []  # `repository` says so
    refused: dict[str, str] = {}
    found = [Finding("model server", "ok", f"answers at {server}")]
    with connect(server, SERVER_SECONDS) as client:
        for model in models:
            try:
                found += _states(model, client.status(model.name))
            except ServingError as error:
                refused[model.name] = str(error).split(". ")[0].rstrip(".")
    if refused:
        reason = next(iter(refused.values()))
        advice = f"Was it started on another models.config? zoo serve reads {models_config()}."
        found[0] = Finding("model server", "problem", f"it does not serve {', '.join(refused)}: {reason}", advice)
    return found


def served_models() -> "list[ModelConfig]":
    """The models in `models.config`, as a model server reads it; none without one. Raises ServingError, OSError."""
    from serving.model_server.config import parse_config

    if not models_config().exists():
        return []
    return list(parse_config(models_config().read_text("utf-8")).models)


def served_versions(model: "ModelConfig") -> list[int]:
    """The versions that the policy asks for, there or not."""
    if model.policy.specific is not None:
        return sorted(model.policy.specific)
    folders = model.base_path.iterdir() if model.base_path.is_dir() else ()
    return model.policy.choose(int(folder.name) for folder in folders if folder.name.isdigit())


def _faults(model: "ModelConfig") -> list[Finding]:
    """What is wrong with a model's entry and with the versions that it serves."""
    right = models_folder() / model.name.partition("@")[0]
    if model.base_path.resolve() != right.resolve():
        found = f"{model.name} is served from {model.base_path}, outside {models_folder()}"
        if model.base_path.is_dir():
            return [Finding(NAME, "note", found, "If the repository was copied or moved, let base_path name it.")]
        advice = f'Was the repository moved? In {models_config()} let {model.name} have base_path: "{right}".'
        return [Finding(NAME, "problem", f"{found}, where nothing is", advice)]
    versions = served_versions(model)
    found_faults = [_version_fault(model.name, model.base_path / str(version)) for version in versions]
    faults = [fault for fault in found_faults if fault]
    for label, version in model.labels.items():
        if version not in versions:
            found = f"{model.name}'s label {label} is on version {version}, which is not served"
            faults.append(Finding(NAME, "problem", found, "zoo promote puts the label on a version that is there."))
    return faults


def _version_fault(name: str, folder: Path) -> Finding | None:
    """What a version's folder lacks."""
    from serving.artifact import EXTRA, LINEAGE, read_lineage

    version = f"{name} version {folder.name}"
    if not folder.is_dir():
        advice = f"Put the folder back, or publish anew and promote; {folder} is what is served."
        return Finding(NAME, "problem", f"{version} is served and is not there", advice)
    needed = ("saved_model.pb", "variables/variables.index")
    missing = [file for file in needed if not (folder / file).is_file()]
    if missing:
        advice = f"Put back a copy of {folder}, or publish anew and promote."
        return Finding(NAME, "problem", f"{version} lacks {', '.join(missing)}", advice)
    if "run_id" not in read_lineage(folder):
        advice = f"Put back {folder / EXTRA / LINEAGE}, or publish the run anew: without it nobody knows the run."
        return Finding(NAME, "problem", f"{version} does not tell its run", advice)
    return None


def _states(model: "ModelConfig", states: "list[VersionStatus]") -> list[Finding]:
    """What the server says of each version that it is to serve."""
    findings = []
    known = {status.version: status for status in states}
    for version in served_versions(model):
        name, status = f"{model.name} {version}", known.get(version)
        if status and status.state == "AVAILABLE":
            findings.append(Finding(name, "ok", "AVAILABLE"))
            continue
        state = status.state if status else "unknown to the server"
        found = f"{state}: {' '.join(status.error.split())}" if status and status.error else state
        advice = "The server's log tells more; it looks for changes of models.config every few seconds."
        findings.append(Finding(name, "problem", found, advice))
    return findings
