"""Which versions of a model were stable, one after the other, and the change that is under way."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import PipelineError
from pipelines.files import write_whole
from serving.parity import SAME_NETWORK

Action = Literal["promote", "rollback"]


@dataclass(frozen=True)
class Change:
    """Another version becomes the stable one, or none where `version` is None."""

    action: Action
    version: int | None
    previous: int | None
    """What was stable before; None before the first promotion."""
    time: str = ""
    """When it began, in UTC, as in 2026-11-21T21:05:00Z."""
    tolerance: float = SAME_NETWORK
    """Of a probability: how far a server may be from the export, at least SAME_NETWORK."""


class ReleaseLog:
    """`releases.json` in a model's folder. What is served is not read from it: that is `models.config`'s to say.

    A change is written down as pending before anything is changed, and is a change made when all is done: what was
    interrupted can be finished, or undone, by whoever comes next. The caller holds the repository's lock.
    """

    def __init__(self, model_folder: Path) -> None:
        self.path = model_folder / "releases.json"

    @property
    def changes(self) -> list[Change]:
        """The changes made, oldest first."""
        return self._read()["changes"]

    @property
    def pending(self) -> Change | None:
        """The change that was begun and is not done."""
        return self._read()["pending"]

    def begin(self, change: Change) -> Change:
        """Write down what is going to be done, with the time."""
        timed = replace(change, time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self._write(self.changes, timed)
        return timed

    def finish(self, change: Change) -> None:
        """Write down that it is done."""
        self._write([*self.changes, change], None)

    def give_up(self) -> None:
        """Write down that what was begun is not wanted any more."""
        if self.pending:
            self._write(self.changes, None)

    def before(self, version: int) -> int | None:
        """What was stable before this version, which is so now. A rollback takes back a promotion, and does not count
        as another."""
        past: list[int] = []
        for change in self.changes:
            if change.action == "promote" and change.version is not None:
                if change.previous is not None and past[-1:] != [change.previous]:
                    past.append(change.previous)
                past.append(change.version)
            else:
                while past and past[-1] != change.version:
                    past.pop()
        return past[-2] if past[-1:] == [version] and len(past) > 1 else None

    def tolerance(self, version: int) -> float:
        """How far a server may be from what this version's run exported: as far as it was let through."""
        allowed = [change.tolerance for change in self.changes if change.version == version]
        return max([SAME_NETWORK, *allowed])

    def _read(self) -> dict[str, Any]:
        try:
            facts = json.loads(self.path.read_text("utf-8"))
            return {
                "pending": Change(**facts["pending"]) if facts["pending"] else None,
                "changes": [Change(**change) for change in facts["changes"]],
            }
        except FileNotFoundError:
            return {"pending": None, "changes": []}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PipelineError(
                f"{self.path} cannot be read: {error}; mend it, or delete it and promote anew."
            ) from error

    def _write(self, changes: list[Change], pending: Change | None) -> None:
        facts = {"pending": asdict(pending) if pending else None, "changes": [asdict(change) for change in changes]}
        write_whole(self.path, json.dumps(facts, indent=2) + "\n")
