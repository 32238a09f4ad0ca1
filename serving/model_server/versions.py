"""One model's versions: their folders on disk, and the state that each is in."""

import enum
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.model_server.config import ModelConfig
from serving.model_server.errors import ServerError
from serving.model_server.logs import fields
from serving.model_server.signatures import Servable
from serving.protos import get_model_status_pb2

_INT64_MAX = 2**63 - 1
_LOG = logging.getLogger(__name__)


class State(enum.IntEnum):
    """A version's states, with the numbers of `ModelVersionStatus.State`."""

    START = get_model_status_pb2.ModelVersionStatus.START
    LOADING = get_model_status_pb2.ModelVersionStatus.LOADING
    AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    UNLOADING = get_model_status_pb2.ModelVersionStatus.UNLOADING
    END = get_model_status_pb2.ModelVersionStatus.END


def scan_versions(base_path: Path) -> dict[int, Path]:
    """The version folders below a base path: number to path.

    A version's name is all digits, leading zeros allowed; everything else (a staging folder that starts with a dot) is
    not a version. Of two spellings of a number the longer one counts. Raises OSError if there is no such folder.
    """
    folders = [path for path in base_path.iterdir() if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    folders.sort(key=lambda path: len(path.name))
    return {int(path.name): path for path in folders if int(path.name) <= _INT64_MAX}


def leads_out(link: Path, base_path: Path) -> bool:
    """Whether a symbolic link below a base path ends outside of it."""
    return not link.resolve().is_relative_to(base_path.resolve())


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded: retries after a failure, seconds between them, and how many at the same time."""

    max_retries: int = 5
    retry_seconds: float = 60.0
    parallel: int = 1
    allow_labels_for_unavailable: bool = False


@dataclass(eq=False)
class Version:
    """One version of a model. The manager's lock guards `in_flight`, and `state` once it is AVAILABLE."""

    model_name: str
    number: int
    path: Path
    base_path: Path
    state: State = State.START
    error: ServerError | None = None
    servable: Servable | None = None
    in_flight: int = 0
    attempts: int = 0
    retry_at: float = 0.0
    load_seconds: float = 0.0

    @property
    def due(self) -> bool:
        """Whether it waits for its first attempt to load, or for a retry whose time has come."""
        waiting = self.servable is None and self.state in (State.START, State.LOADING)
        return waiting and time.monotonic() >= self.retry_at

    @property
    def failed(self) -> bool:
        """Whether it ended because it could not be loaded."""
        return self.state is State.END and self.error is not None

    @property
    def log_fields(self) -> dict[str, Any]:
        """What tells this version's lines in a JSON log apart."""
        return fields(model=self.model_name, version=self.number, state=self.state.name)

    def __str__(self) -> str:
        return f"{self.model_name} version {self.number}"


@dataclass(eq=False)
class Model:
    """A model and every version that it has or had. `config` is None once it left the server's config."""

    name: str
    base_path: Path
    config: ModelConfig | None = None
    versions: dict[int, Version] = field(default_factory=dict)
    wanted: frozenset[int] = frozenset()
    complaint: str = ""

    @property
    def labels(self) -> Mapping[str, int]:
        """The version that each label stands for."""
        return self.config.labels if self.config else {}

    def available(self) -> list[Version]:
        """The versions that serve requests, in ascending order."""
        found = [version for version in self.versions.values() if version.state is State.AVAILABLE]
        return sorted(found, key=lambda version: version.number)

    def scan(self, config: ModelConfig) -> dict[int, Path] | None:
        """The version folders, or None if the base path cannot be read. What is missing is logged once."""
        folders = None
        complaint = ""
        try:
            folders = scan_versions(self.base_path)
            missing = sorted(set(config.policy.specific or ()) - set(folders))
            if not folders:
                complaint = f"no versions under base path {self.base_path}; waiting for one"
            elif missing:
                complaint = f"no version {', '.join(map(str, missing))} under base path {self.base_path}"
        except OSError as error:
            complaint = f"cannot read base path {self.base_path} ({error.strerror}); waiting for it"
        if complaint and complaint != self.complaint:
            _LOG.warning("%s: %s", self.name, complaint, extra=fields(model=self.name))
        self.complaint = complaint
        return folders

    def is_to_be_loaded(self, number: int) -> bool:
        """Whether a wanted version is new, or back after it was gone; one that failed is not tried for ever."""
        version = self.versions.get(number)
        if version is None:
            return True
        return version.state is State.END and not (version.failed and number in self.wanted)
