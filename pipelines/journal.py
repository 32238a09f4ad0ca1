"""What a run records, on this machine's disk before anything is sent to the tracking server.

A run in progress has a folder `artifacts/runs/RUN_ID`: its recipe, its journal with the files that belong to it, how
much of the journal has been sent, and the checkpoint of its training. The folder goes when all is sent and nothing is
left to resume.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.errors import UsageError
from pipelines.files import write_whole
from pipelines.home import runs_folder
from pipelines.recipes import Recipe, recipe_from_yaml

Entry = dict[str, Any]
RESUMABLE = ("train", "search", "trial")
"""The kinds of runs that can be gone on with when they were interrupted."""


class Journal:
    """The folder of one run. Entries are appended and never changed; each says in `kind` what it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / "lock")

    @classmethod
    def create(cls, run_id: str, uri: str, kind: str, tags: Mapping[str, str], recipe: Recipe) -> "Journal":
        """The journal of a new run in the tracking store `uri`, held by this process."""
        journal = cls(runs_folder() / run_id)
        journal.files.mkdir(parents=True)
        journal._lock.acquire(timeout=0)
        (journal.folder / "recipe.yaml").write_text(recipe.to_yaml(), "utf-8")
        facts = {"uri": uri, "kind": kind, "tags": dict(tags), "created": time.time()}
        write_whole(journal.folder / "run.json", json.dumps(facts, indent=2))  # last: it makes the folder a journal
        return journal

    @classmethod
    def adopt(cls, run_id: str, uri: str, kind: str, tags: Mapping[str, str], recipe: Recipe) -> "Journal":
        """A journal for a run in progress that has none: a kill came between the beginnings of the two."""
        shutil.rmtree(runs_folder() / run_id, ignore_errors=True)
        journal = cls.create(run_id, uri, kind, tags, recipe)
        journal.append("status", status="RUNNING")
        return journal

    @property
    def is_there(self) -> bool:
        """Whether the folder holds a journal: no more once it is removed."""
        return (self.folder / "run.json").exists()

    @property
    def run_id(self) -> str:
        """Of the MLflow run."""
        return self.folder.name

    @property
    def files(self) -> Path:
        """Where the files lie that entries speak of."""
        return self.folder / "files"

    @property
    def checkpoint(self) -> Path:
        """The state of the run's training."""
        return self.folder / "state.npz"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """`uri` of the tracking store, `kind`, `tags` and `created` (seconds since 1970) of the run."""
        return json.loads((self.folder / "run.json").read_text("utf-8"))

    @property
    def recipe(self) -> Recipe:
        """The run's resolved recipe."""
        return recipe_from_yaml((self.folder / "recipe.yaml").read_text("utf-8"), f"of run {self.run_id}")

    def append(self, kind: str, **values: Any) -> None:
        """Write an entry down, with the time in milliseconds since 1970."""
        entry = {"kind": kind, "time": int(time.time() * 1000), **values}
        path = self.folder / "journal.jsonl"
        whole = not path.exists() or path.read_bytes().endswith(b"\n")  # or a kill cut the last line short
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps(entry) + "\n")

    def entries(self) -> list[Entry]:
        """All entries. A last line that a kill cut short counts for nothing."""
        path = self.folder / "journal.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [entry for entry in map(_parsed, lines) if entry is not None]

    def unsent(self) -> list[Entry]:
        """The entries that have not been sent yet, in their order."""
        return self.entries()[self._sent() :]

    def mark_sent(self, count: int) -> None:
        """So many more entries have been sent."""
        write_whole(self.folder / "sent", str(self._sent() + count))

    def _sent(self) -> int:
        path = self.folder / "sent"
        return int(path.read_text("utf-8")) if path.exists() else 0

    def minutes(self) -> float:
        """How long the run has been worked on: without the time between an interruption and going on."""
        total, last = 0, None
        for entry in self.entries():
            begins = entry["kind"] == "status" and entry["status"] == "RUNNING"
            total += 0 if last is None or begins else entry["time"] - last
            last = entry["time"]
        return total / 60_000

    def epochs(self) -> set[int]:
        """The epochs whose metrics are written down, from 1."""
        return {entry["step"] for entry in self.entries() if entry["kind"] == "metrics" and entry["step"]}

    def dataset_digest(self) -> str | None:
        """Of what was trained on; None where the run did not come so far."""
        tags = {k: v for entry in self.entries() if entry["kind"] == "tags" for k, v in entry["values"].items()}
        return tags.get("zoo.dataset_digest")

    def status(self) -> str:
        """What the run was last said to be: RUNNING, FINISHED, FAILED or KILLED."""
        said = [entry["status"] for entry in self.entries() if entry["kind"] == "status"]
        return said[-1] if said else "RUNNING"  # a kill came before the first entry

    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.status() == "FINISHED"

    def hold(self, seconds: float = 0) -> bool:
        """Take the journal for this process, until `release` or its end; False where another process has it, and still
        has it after so many seconds."""
        try:
            self._lock.acquire(timeout=seconds)
        except (Timeout, OSError):
            return False
        if not self.is_there:  # it was removed a moment ago, and the lock made its folder anew
            self.remove()
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder; this process holds it, or nobody does any more."""
        (self.folder / "run.json").unlink(missing_ok=True)  # first: without it the rest is no journal
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()


def journals() -> Iterator[Journal]:
    """Those of all runs that are not done with, the newest first."""
    found = []
    for path in runs_folder().glob("*/run.json"):
        journal = Journal(path.parent)
        with contextlib.suppress(OSError, ValueError):  # removed since
            found.append((journal.facts["created"], journal))
    yield from (journal for _, journal in sorted(found, key=lambda pair: pair[0], reverse=True))


def interrupted_journals(recipe: Recipe, uri: str) -> Iterator[Journal]:
    """Those of unfinished training runs of the very same recipe, seed included, that nobody is at work on; the newest
    first."""
    for journal in journals():
        if _is_of(journal, recipe, uri) and journal.hold():
            finished = journal.is_finished()
            journal.release()
            if not finished:
                yield journal


def _is_of(journal: Journal, recipe: Recipe, uri: str) -> bool:
    try:
        facts, other = journal.facts, journal.recipe
    except (OSError, ValueError, UsageError):  # removed since, or of a version whose recipes had other fields
        return False
    same_store = (facts["uri"], facts["kind"]) == (uri, "train")
    return same_store and other.name == recipe.name and other.flat() == recipe.flat()


def _parsed(line: str) -> Entry | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
