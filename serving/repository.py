"""The model repository: versions on disk and `models.config`, the truth of what is served.

    models/models.config          which versions of which models are served
    models/NAME/3/                a version, complete from the moment that it has this name
    models/NAME/.staging-…/       a version in the making; model servers look at folders named by a number only

A model server answers a request without version or label with the newest version of the name that is asked for. So the
candidate has a served name of its own, `NAME@candidate`, and `NAME` has none but versions that were let through.

Everything appears by one rename or not at all; whoever changes something holds the repository's lock.
"""

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from google.protobuf import text_format

from serving.artifact import read_lineage
from serving.errors import ServingError
from serving.protos import model_server_config_pb2

STABLE = "stable"
CANDIDATE = "candidate"
_STAGING = ".staging-"
_LOG = logging.getLogger(__name__)


def candidate_name(name: str) -> str:
    """The name under which a model's candidate is served; no model has such a name itself."""
    return f"{name}@{CANDIDATE}"


class BusyError(ServingError):
    """Another process has the repository's lock."""


@dataclass(frozen=True)
class Served:
    """What is served of a model."""

    stable: int | None = None
    """The version with the label `stable`."""
    candidate: int | None = None
    """The version that is served as `NAME@candidate`."""
    beside: tuple[int, ...] = ()
    """Versions without a label that are served beside the stable one: a model server moves a label only to a version
    that it has loaded already."""

    @property
    def labels(self) -> dict[str, int]:
        """Label → version."""
        pairs = {STABLE: self.stable, CANDIDATE: self.candidate}
        return {label: version for label, version in pairs.items() if version is not None}

    @property
    def versions(self) -> list[int]:
        """All versions, those under `NAME@candidate` too, in ascending order."""
        return sorted({*self.labels.values(), *self.beside})


class ModelRepository:
    """A folder of served models. The base paths in its `models.config` are absolute, as model servers demand."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.config_file = self.root / "models.config"

    @contextlib.contextmanager
    def lock(self, *, wait: bool = True) -> Iterator[None]:
        """Keep other publishers out; the lock of a process that dies is free again.

        Who has to wait is told so. Without `wait` it raises BusyError where another process has the lock.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        held = FileLock(self.root / ".lock")
        try:
            held.acquire(timeout=1.0 if wait else 0)
        except Timeout:
            if not wait:
                raise BusyError(f"Another process is publishing or promoting in {self.root}.") from None
            _LOG.warning("Another process is publishing or promoting in %s; waiting for it.", self.root)
            held.acquire()
        try:
            yield
        finally:
            held.release()

    def models(self) -> list[str]:
        """The models that have a version."""
        folders = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(folder.name for folder in folders if self.versions(folder.name))

    def versions(self, name: str) -> list[int]:
        """The complete versions of a model, oldest first."""
        folder = self.root / name
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []

    def version_folder(self, name: str, version: int) -> Path:
        """Where a version lies, or will lie."""
        return self.root / name / str(version)

    def find_version(self, name: str, run_id: str) -> int | None:
        """The version that was made from a run."""
        for version in self.versions(name):
            if read_lineage(self.version_folder(name, version)).get("run_id") == run_id:
                return version
        return None

    def staging_folder(self, name: str, run_id: str) -> Path:
        """The place in the model's own folder where a run's version is made; the caller holds the lock.

        It does not exist yet, its parent does, and what publishers that died left of theirs is gone.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
            raise ServingError(f"'{name}' is no model name; expected letters, digits, '_', '-' and '.'.")
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        for abandoned in folder.glob(f"{_STAGING}*"):
            shutil.rmtree(abandoned)
        return folder / f"{_STAGING}{run_id}"

    def free_folder(self, name: str, version: int) -> Path:
        """Where a new version will lie. Raises ServingError where there is one already."""
        target = self.version_folder(name, version)
        if target.exists():
            raise ServingError(
                f"{target} exists already, and a published version never changes; move that folder away, or, if the "
                f"tracking store was begun anew, the folder {target.parent}, and publish again."
            )
        return target

    def commit(self, staged: Path, version: int) -> Path:
        """Give a staged version its number: the rename by which it appears. Its files are on disk before."""
        target = self.free_folder(staged.parent.name, version)
        for path in sorted(staged.rglob("*"), reverse=True):
            _flush(path)
        _flush(staged)
        staged.rename(target)
        _flush(target.parent)
        return target

    def served(self) -> dict[str, Served]:
        """What is served, by model. Models that are served by another policy than that of specific versions are not
        this project's, and left out. Raises ServingError for a config that cannot be read."""
        found: dict[str, Served] = {}
        for model in self.config().model_config_list.config:
            name, at, suffix = model.name.partition("@")
            if not _is_ours(model) or (at and suffix != CANDIDATE):
                continue
            versions = {int(version) for version in model.model_version_policy.specific.versions}
            before = found.get(name, Served())
            if at:
                found[name] = replace(before, candidate=max(versions, default=None))
                continue
            labels = {label: int(version) for label, version in model.version_labels.items()}
            stable, candidate = labels.get(STABLE), labels.get(CANDIDATE, before.candidate)
            found[name] = Served(stable, candidate, tuple(sorted(versions - {stable, labels.get(CANDIDATE)})))
        return found

    def served_of(self, name: str) -> Served:
        """What is served of a model and is still there: a version whose folder somebody took away can be served no
        more."""
        served, existing = self.served().get(name, Served()), self.versions(name)
        return Served(
            stable=served.stable if served.stable in existing else None,
            candidate=served.candidate if served.candidate in existing else None,
            beside=tuple(version for version in served.beside if version in existing),
        )

    def serve(self, name: str, served: Served) -> None:
        """Rewrite `models.config` so that just this is served of a model.

        Raises ServingError for a version that the repository does not have, and for a model that somebody has given
        another policy.
        """
        for version in served.versions:
            if version not in self.versions(name):
                raise ServingError(f"{name} has no version {version} to serve; it has {self.versions(name)}.")
        self._write(self.config_with(name, served))

    def config_with(self, name: str, served: Served) -> Any:
        """`models.config` as a ModelServerConfig in which just this is served of a model; nothing is written."""
        config = self.config()
        models = config.model_config_list.config
        mine = [model for model in models if model.name in (name, candidate_name(name))]
        if any(not _is_ours(model) for model in mine):
            raise ServingError(
                f"{self.config_file} serves {name} by a policy of its own; take that entry out, or give it the policy "
                "`specific`."
            )
        others = [model for model in models if model not in mine]
        del models[:]
        models.extend(others)
        let_through = sorted({*served.beside, *([] if served.stable is None else [served.stable])})
        if let_through:
            model = self._add(models, name, name, let_through)
            if served.stable is not None:
                model.version_labels[STABLE] = served.stable
        if served.candidate is not None:
            # Without a label: a server refuses one that moves from one candidate to the next before that is loaded.
            self._add(models, candidate_name(name), name, [served.candidate])
        return config

    def _add(self, models: Any, served_name: str, name: str, versions: Sequence[int]) -> Any:
        model = models.add(name=served_name, base_path=str(self.root / name), model_platform="tensorflow")
        model.model_version_policy.specific.versions[:] = versions
        return model

    def ensure_config(self) -> Path:
        """The path of `models.config`, which is made, serving nothing yet, where there is none."""
        if not self.config_file.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.root, prefix=".making-") as folder:
                draft = Path(folder) / self.config_file.name
                draft.write_text(_as_text(self.config()), "utf-8")
                # A link never takes the place of what another process has written meanwhile, so that no lock is needed.
                with contextlib.suppress(FileExistsError):
                    os.link(draft, self.config_file)
        return self.config_file

    def _write(self, config: Any) -> None:
        draft = self.config_file.with_suffix(".draft")
        draft.write_text(_as_text(config), "utf-8")
        _flush(draft)
        draft.replace(self.config_file)
        _flush(self.root)

    def config(self) -> Any:
        """`models.config` as a ModelServerConfig; an empty one where there is none. Raises ServingError."""
        config = model_server_config_pb2.ModelServerConfig()
        try:
            text_format.Parse(self.config_file.read_text("utf-8"), config)
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            raise ServingError(f"{self.config_file} cannot be read: {error}; mend it or delete it.") from error
        return config


def _is_ours(model: Any) -> bool:
    """Whether an entry of the config is one that this class could have written."""
    return model.model_version_policy.WhichOneof("policy_choice") == "specific"


def _as_text(config: Any) -> str:
    config.model_config_list.SetInParent()  # an empty list is a config too; an empty file is none
    return text_format.MessageToString(config)


def _flush(path: Path) -> None:
    """Have a file's bytes, or a folder's entries, on disk before anything points to them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
