"""Hyperband for a number of trials."""

from typing import Any

from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.oracles import HyperbandOracle

from pipelines.tuning.brackets import Bracket, make_brackets
from pipelines.tuning.plan import Plan, SearchFolder
from pipelines.tuning.sturdy import ENDED, SturdyOracle, Values


class BracketOracle(SturdyOracle, HyperbandOracle):
    """Hyperband laid out for a number of trials: Keras Tuner's own has a number of its own, and comes to a halt where
    trials fail.

    Many settings are trained for a few epochs, the best of them for some more, and so on; each promotion is a trial
    that goes on with the weights of another one.
    """

    layout: list[Bracket]
    _brackets: list[dict[str, Any]]
    _is_exhausted = False
    """Whether the space has no more settings: the rounds that they were for stay smaller."""

    def begin(self, folder: SearchFolder, plan: Plan, first: Values) -> None:
        """Lay out the brackets."""
        self.layout = make_brackets(plan.trials, self.max_epochs, self.factor)
        self._brackets = [{"bracket_num": n, "rounds": [[] for _ in b.sizes]} for n, b in enumerate(self.layout)]
        super().begin(folder, plan, first)

    def own(self, trial_id: str) -> dict[str, Any]:
        """The recipe has to prove itself like the others."""
        return self._enter(trial_id, 0, dict(self.first))

    def choose(self, trial_id: str) -> dict[str, Any]:
        """The best that waits for its promotion, else a new one."""
        for number, bracket in enumerate(self.layout):
            for place in range(len(bracket.sizes) - 1, 0, -1):
                best = self._promoted(number, place)
                if best is not None:
                    return self._promote(trial_id, number, place, best)
            if len(self._brackets[number]["rounds"][0]) < bracket.sizes[0] and not self._is_exhausted:
                return self._random(trial_id, number)
        if self.ongoing_trials or self._retry_queue:
            return {"status": "IDLE"}
        if self._is_exhausted:
            return {"status": "STOPPED"}
        # Trials that failed took promotions with them.
        return self._random(trial_id, len(self.layout) - 1)

    def _promoted(self, number: int, place: int) -> TunerTrial | None:
        """Who goes on to this round of a bracket; None while that is not decided, and when it is full."""
        rounds, sizes = self._brackets[number]["rounds"], self.layout[number].sizes
        before = [self.trials[entry["id"]] for entry in rounds[place - 1]]
        if len(before) < sizes[place - 1] and not self._is_short(number, place - 1):
            return None
        alive = [trial for trial in before if trial.status != "FAILED"]
        gone_on = {entry["past_id"] for entry in rounds[place]}
        if len(gone_on) >= min(sizes[place], len(alive)) or any(trial.status not in ENDED for trial in before):
            return None
        waiting = [trial for trial in alive if trial.trial_id not in gone_on]
        return max(waiting, key=lambda trial: self.plan.sign * trial.score, default=None)

    def _is_short(self, number: int, place: int) -> bool:
        """Whether a round will stay smaller than laid out, since trials before it failed."""
        rounds, sizes = self._brackets[number]["rounds"], self.layout[number].sizes
        if place == 0:
            return self._is_exhausted
        before = [self.trials[entry["id"]] for entry in rounds[place - 1]]
        whole = len(before) >= sizes[place - 1] or self._is_short(number, place - 1)
        alive = sum(trial.status != "FAILED" for trial in before)
        return whole and all(t.status in ENDED for t in before) and len(rounds[place]) >= min(sizes[place], alive)

    def _promote(self, trial_id: str, number: int, place: int, past: TunerTrial) -> dict[str, Any]:
        values = {
            **past.hyperparameters.values,
            "tuner/trial_id": past.trial_id,
            "tuner/initial_epoch": past.hyperparameters.values["tuner/epochs"],
            "tuner/epochs": self.layout[number].epochs[place],
            "tuner/bracket": number,
            "tuner/round": place,
        }
        self._brackets[number]["rounds"][place].append({"past_id": past.trial_id, "id": trial_id})
        return {"status": "RUNNING", "values": values}

    def _random(self, trial_id: str, number: int) -> dict[str, Any]:
        values = self._random_values()
        if values is None:
            self._is_exhausted = True
            return self.choose(trial_id)
        return self._enter(trial_id, number, values)

    def _enter(self, trial_id: str, number: int, values: Values) -> dict[str, Any]:
        begins = {"tuner/epochs": self.layout[number].epochs[0], "tuner/initial_epoch": 0}
        places = {"tuner/bracket": number, "tuner/round": 0}
        self._brackets[number]["rounds"][0].append({"past_id": None, "id": trial_id})
        return {"status": "RUNNING", "values": {**values, **begins, **places}}

    def goes_on(self, number: str) -> bool:
        """Until its bracket has no place in the next round, and while the one that took it is at work."""
        for bracket, layout in zip(self._brackets, self.layout, strict=True):
            for place, entries in enumerate(bracket["rounds"]):
                if number not in [entry["id"] for entry in entries] or place + 1 >= len(layout.sizes):
                    continue
                following = bracket["rounds"][place + 1]
                heirs = [self.trials[entry["id"]] for entry in following if entry["past_id"] == number]
                if heirs:
                    return any(heir.status not in ENDED for heir in heirs)
                return len(following) < layout.sizes[place + 1]
        return False
