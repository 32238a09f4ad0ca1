"""One model's versions: their folders on disk, and the state that each is in."""

import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.model_server.config import ModelConfig
from serving.model_server.errors import ServerError
from serving.model_server.signatures import Servable
from serving.protos import get_model_status_pb2

_INT64_MAX = 2**63 - 1


class State(enum.IntEnum):
    """A version's states, with the numbers of `ModelVersionStatus.State`."""

    START = get_model_status_pb2.ModelVersionStatus.START
    LOADING = get_model_status_pb2.ModelVersionStatus.LOADING
    AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    UNLOADING = get_model_status_pb2.ModelVersionStatus.UNLOADING
    END = get_model_status_pb2.ModelVersionStatus.END


def scan_versions(base_path: Path) -> dict[int, Path]:
    """The version folders below a base path: number to path.

    A version's name is all digits, leading zeros allowed; everything else (a staging folder that starts with a dot)
    is not a version. Of two spellings of a number the longer one counts. Raises OSError if there is no such folder.
    """
    folders = [path for path in base_path.iterdir() if path.name.isascii() and path.name.isdigit() and path.is_dir()]
    folders.sort(key=lambda path: len(path.name))
    return {int(path.name): path for path in folders if int(path.name) <= _INT64_MAX}


@dataclass(eq=False)
class Version:
    """One version of a model. The manager's lock guards `in_flight`, and `state` once it is AVAILABLE."""

    model_name: str
    number: int
    path: Path
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
