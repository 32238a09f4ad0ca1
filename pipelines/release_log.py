"""Which versions of a model were stable, one after the other, and the change that is under way."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import PipelineError
from pipelines.files import write_whole

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
        return [Change(**change) for change in self._read()["changes"]]

    @property
    def pending(self) -> Change | None:
        """The change that was begun and is not done."""
        found = self._read()["pending"]
        return Change(**found) if found else None

    def begin(self, change: Change) -> Change:
        """Write down what is going to be done, with the time."""
        timed = Change(change.action, change.version, change.previous, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        self._write(self.changes, timed)
        return timed

    def finish(self, change: Change) -> None:
        """Write down that it is done."""
        self._write([*self.changes, change], None)

    def before(self, version: int) -> int | None:
        """What was stable before this version was promoted the last time."""
        promotions = [c for c in self.changes if c.action == "promote" and c.version == version]
        return promotions[-1].previous if promotions else None

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {"pending": None, "changes": []}
        except (OSError, ValueError) as error:
            raise PipelineError(
                f"{self.path} cannot be read: {error}; mend it, or delete it and promote anew."
            ) from error

    def _write(self, changes: list[Change], pending: Change | None) -> None:
        facts = {"pending": asdict(pending) if pending else None, "changes": [asdict(change) for change in changes]}
        write_whole(self.path, json.dumps(facts, indent=2) + "\n")
