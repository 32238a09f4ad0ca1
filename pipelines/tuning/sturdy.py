"""What all of Keras Tuner's oracles, which choose each trial's settings, do otherwise here.

Trial 0 is the recipe as it stands. What an oracle knows is on disk, whole, after each change, so that a search that is
killed at any moment goes on where it was.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial as TunerTrial

from pipelines.errors import PipelineError
from pipelines.files import write_whole
from pipelines.tuning.plan import Plan, SearchFolder

STATE = "oracle"
"""The oracle's folder within the search's."""
ENDED = ("COMPLETED", "FAILED")
Values = dict[str, Any]


class SturdyOracle(keras_tuner.Oracle):
    """An oracle with the sharp edges taken off; a subclass names the algorithm's oracle of Keras Tuner behind it."""

    plan: Plan
    folder: SearchFolder
    first: Values
    """Of trial 0."""
    deadline: float | None = None
    """Of `time.monotonic`: no trial begins later."""

    def begin(self, folder: SearchFolder, plan: Plan, first: Values) -> None:
        """Take up the state in `folder`, if there is any."""
        self.folder, self.plan, self.first = folder, plan, first
        self.max_trials = plan.trials
        self.verbose = 0  # it would print tables of its own
        self._max_collisions = 1000  # after twenty it takes a small space for exhausted that is not
        self._set_project_dir(str(folder.path), STATE)
        if (Path(self._project_dir) / "oracle.json").exists():
            self.reload()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The recipe's own values first, then those that the algorithm chooses."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return {"status": "STOPPED"}
        if not self.trials:
            return self.own(trial_id)
        return self.choose(trial_id)

    def own(self, trial_id: str) -> dict[str, Any]:
        """Trial 0."""
        return {"status": "RUNNING", "values": dict(self.first)}

    def choose(self, trial_id: str) -> dict[str, Any]:
        """A later trial."""
        return super().populate_space(trial_id)

    def end_trial(self, trial: TunerTrial) -> None:
        """Also delete the checkpoints that nobody will go on with."""
        super().end_trial(trial)
        for number, other in self.trials.items():
            if other.status in ENDED and not self.goes_on(number):
                self.folder.checkpoint(int(number)).unlink(missing_ok=True)

    def save(self) -> None:
        """Whole or not at all: a half-written file would be the end of the search."""
        path = Path(self._project_dir) / "oracle.json"
        # Of the trials that have begun this file has the say; see `reload`.
        write_whole(path, json.dumps({**self.get_state(), "display": None}, default=_plain))

    def _save_trial(self, trial: TunerTrial) -> None:
        folder = Path(self._get_trial_dir(trial.trial_id))
        write_whole(folder / "trial.json", json.dumps(trial.get_state(), default=_plain))

    def reload(self) -> None:
        """What was on disk when the search was killed. Trials in progress then are the first to be handed out again."""
        folder = Path(self._project_dir)
        try:
            state = json.loads((folder / "oracle.json").read_text("utf-8"))
            began = state["start_order"]
            self.trials = {number: TunerTrial.load(str(_trial_file(folder, number))) for number in began}
        except (OSError, ValueError, KeyError) as error:
            raise PipelineError(
                f"The search's state in {folder} cannot be read ({error}); search anew without --resume."
            ) from error
        # A trial whose file is there but which is not on that list never began: the kill came in between.
        for path in folder.glob("trial_*"):
            if path.name.removeprefix("trial_") not in self.trials:
                shutil.rmtree(path, ignore_errors=True)
        state["display"] = self._display.get_state()
        self.set_state(state)
        # Nor has every trial that ended been taken off the list of those in progress.
        ended = [number for number, trial in self.trials.items() if trial.status in ENDED]
        self.end_order += [number for number in ended if number not in self.end_order]
        self.ongoing_trials: dict[str, TunerTrial] = {}
        self._retry_queue = [number for number in reversed(began) if number not in ended]

    def goes_on(self, number: str) -> bool:
        """Whether another trial may yet go on with this one's weights."""
        return False


def _trial_file(folder: Path, number: str) -> Path:
    return folder / f"trial_{number}" / "trial.json"


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else str(value)
