"""The model repository: versions on disk and `models.config`, the truth of what is served.

    models/models.config          which versions of which models are served, and under which labels
    models/NAME/3/                a version, complete from the moment that it has this name
    models/NAME/.staging-…/       a version in the making; model servers look at folders named by a number only

Everything appears by one rename or not at all; whoever changes something holds the repository's lock.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from google.protobuf import text_format

from serving.artifact import read_lineage
from serving.errors import ServingError
from serving.protos import model_server_config_pb2

STABLE = "stable"
CANDIDATE = "candidate"
_STAGING = ".staging-"


class ModelRepository:
    """A folder of served models. The base paths in its `models.config` are absolute, as model servers demand."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.config_file = self.root / "models.config"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other publishers out; the lock of a process that dies is free again."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".lock"):
            yield

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

    def commit(self, staged: Path, version: int) -> Path:
        """Give a staged version its number: the rename by which it appears. Its files are on disk before."""
        target = staged.parent / str(version)
        if target.exists():
            raise ServingError(
                f"{target} exists already and comes from another run, and a published version never changes; if the "
                f"tracking store was begun anew, move the folder {staged.parent} away first."
            )
        for path in sorted(staged.rglob("*"), reverse=True):
            _flush(path)
        _flush(staged)
        staged.rename(target)
        _flush(target.parent)
        return target

    def served(self) -> dict[str, dict[str, int]]:
        """The served versions: label → version, by model. Raises ServingError for a config that cannot be read."""
        return {
            model.name: {label: int(version) for label, version in model.version_labels.items()}
            for model in self._read().model_config_list.config
        }

    def serve(self, name: str, labels: Mapping[str, int]) -> None:
        """Rewrite `models.config` so that just these versions of a model are served, under these labels.

        Raises ServingError for a version that the repository does not have.
        """
        for label, version in labels.items():
            if version not in self.versions(name):
                raise ServingError(
                    f"{name} has no version {version} to serve as '{label}'; it has {self.versions(name)}."
                )
        config = self._read()
        models = config.model_config_list.config
        model = next((m for m in models if m.name == name), None) or models.add(name=name)
        model.base_path = str(self.root / name)
        model.model_platform = "tensorflow"
        model.model_version_policy.specific.versions[:] = sorted(set(labels.values()))
        model.version_labels.clear()
        model.version_labels.update(labels)
        self._write(config)

    def ensure_config(self) -> Path:
        """The path of `models.config`, which is made, serving nothing yet, where there is none."""
        with self.lock():
            if not self.config_file.exists():
                self._write(self._read())
        return self.config_file

    def _write(self, config: Any) -> None:
        config.model_config_list.SetInParent()  # an empty list is a config too; an empty file is none
        draft = self.config_file.with_suffix(".draft")
        draft.write_text(text_format.MessageToString(config), "utf-8")
        _flush(draft)
        draft.replace(self.config_file)
        _flush(self.root)

    def _read(self) -> Any:
        config = model_server_config_pb2.ModelServerConfig()
        try:
            text_format.Parse(self.config_file.read_text("utf-8"), config)
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
            raise ServingError(f"{self.config_file} cannot be read: {error}; mend it or delete it.") from error
        return config


def _flush(path: Path) -> None:
    """Have a file's bytes, or a folder's entries, on disk before anything points to them."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
