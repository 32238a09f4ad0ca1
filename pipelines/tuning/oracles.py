"""The oracle of each algorithm: Keras Tuner's, as `pipelines.tuning.sturdy` has them."""

import random
import warnings
from collections.abc import Iterator
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.oracles import BayesianOptimizationOracle, RandomSearchOracle
from sklearn.exceptions import ConvergenceWarning

from pipelines.recipes import Recipe
from pipelines.tuning.hyperband import BracketOracle
from pipelines.tuning.plan import Plan, SearchFolder
from pipelines.tuning.space import declare, grid_size, grid_values, is_inside, own_values
from pipelines.tuning.sturdy import SturdyOracle

SEARCH = "zoo/search"
"""The name under which a search's id travels to workers, among the hyperparameters: the protocol has no other place."""


class RandomOracle(SturdyOracle, RandomSearchOracle):
    """Settings at random, none twice."""


class BayesianOracle(SturdyOracle, BayesianOptimizationOracle):
    """Settings at random, then those that a Gaussian process over the trials so far finds most promising."""

    def choose(self, trial_id: str) -> dict[str, Any]:
        """Not from a random state that would begin anew after an interruption."""
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the process's own length scale, at each trial
            chosen: dict[str, Any] = super().choose(trial_id)
        # The same settings again, seed included, would give the same result.
        if chosen["status"] == "RUNNING" and self._duplicate({**chosen["values"], SEARCH: self.first[SEARCH]}):
            chosen["values"] = self._random_values()
        return chosen if chosen["values"] else {"status": "STOPPED"}

    def _vectorize_trials(self) -> Any:
        # The recipe's own values need not lie in the space that is searched.
        everything = self.trials
        self.trials = {
            number: trial
            for number, trial in everything.items()
            if is_inside(self.hyperparameters, trial.hyperparameters.values)
        }
        try:
            return super()._vectorize_trials()
        finally:
            self.trials = everything


class GridOracle(SturdyOracle):
    """All combinations in their order; where there are more than trials, as many of them at random.

    Keras Tuner's own forgets where it was when it is interrupted, and a part of its grid is its first corner.
    """

    def choose(self, trial_id: str) -> dict[str, Any]:
        """The next one that has not been tried: its place need not be kept."""
        size = grid_size(self.hyperparameters)
        order = iter(range(size)) if size <= self.plan.trials else _permutation(size, self.seed)
        for index in order:
            values = grid_values(self.hyperparameters, index)
            if values is not None and not self._duplicate(values):
                return {"status": "RUNNING", "values": values}
        return {"status": "STOPPED"}


def make_oracle(recipe: Recipe, plan: Plan, folder: SearchFolder) -> SturdyOracle:
    """The oracle of a search, new or as it was when the search was interrupted. Raises PipelineError."""
    space = declare(recipe)
    first = {**own_values(recipe, space), SEARCH: folder.search_id}
    space.Fixed(SEARCH, folder.search_id)
    options = {
        "objective": keras_tuner.Objective(plan.objective, plan.direction),
        "hyperparameters": space,
        "seed": plan.seed + 1,  # Keras Tuner takes 0 for "no seed"
        "tune_new_entries": False,
        "allow_new_entries": False,
        "max_consecutive_failed_trials": 10**9,  # failed trials are kept and shown; they do not end a search
    }
    oracle: SturdyOracle
    match plan.algorithm:
        case "random":
            oracle = RandomOracle(max_trials=plan.trials, **options)
        case "bayesian":
            # By Keras Tuner's own count a short search would never come to anything but random settings.
            initial = max(3, min(2 * len(recipe.search), plan.trials // 3))
            oracle = BayesianOracle(max_trials=plan.trials, num_initial_points=initial, **options)
        case "grid":
            oracle = GridOracle(max_trials=plan.trials, **options)
        case "hyperband":
            oracle = BracketOracle(max_epochs=recipe.epochs, factor=3, **options)
    oracle.begin(folder, plan, first)
    return oracle


def _permutation(size: int, seed: int) -> Iterator[int]:
    """The numbers below `size` in a random order, without a list of them."""
    generator, seen = random.Random(seed), set[int]()
    while len(seen) < size:
        number = generator.randrange(size)
        if number not in seen:
            seen.add(number)
            yield number
