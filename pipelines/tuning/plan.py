"""What a search is to do, and where its state lies."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.errors import PipelineError, UsageError
from pipelines.files import write_files
from pipelines.home import tuning_folder
from pipelines.journal import Journal, journals
from pipelines.recipes import Recipe, recipe_from_yaml
from pipelines.tuning.trials import OBJECTIVES

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)


@dataclass(frozen=True)
class Plan:
    """How a search goes about it."""

    algorithm: Algorithm = "random"
    trials: int = 10
    """At most; trial 0, the recipe as it stands, is one of them."""
    objective: str = "val_accuracy"
    seed: int = 1
    """Of the choice of settings; the trials are all trained with the recipe's seed."""
    patience: int | None = None
    """Epochs without a better objective after which a trial ends; None leaves that to the recipe."""

    @property
    def direction(self) -> Literal["min", "max"]:
        """Whether the objective is to be small or large."""
        return OBJECTIVES[self.objective]

    @property
    def sign(self) -> int:
        """1 where a larger objective is better, −1 where a smaller one is."""
        return 1 if self.direction == "max" else -1

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError where the recipe cannot be searched so."""
        if not recipe.search:
            raise UsageError(
                f"The recipe {recipe.name} has no search: block; add one that maps fields to ranges or choices."
            )
        recipe.check_search()
        if self.trials < 1:
            raise UsageError(f"A search has one trial or more; received {self.trials}.")
        if self.algorithm not in ALGORITHMS:
            raise UsageError(f"There is no algorithm '{self.algorithm}'; expected {', '.join(ALGORITHMS)}.")
        if self.objective not in OBJECTIVES:
            why = " (no choice rests on test images)" if self.objective.startswith("test") else ""
            raise UsageError(
                f"No epoch has the metric '{self.objective}'{why}; the objective is one of {', '.join(OBJECTIVES)}."
            )
        if recipe.dataset.validation == 0 and self.objective.startswith("val_"):
            raise UsageError(
                f"The recipe {recipe.name} holds no images out for validation (dataset.validation is 0), and "
                f"{self.objective} needs some."
            )
        if self.algorithm == "hyperband" and "epochs" in recipe.search:
            raise UsageError(
                f"The recipe {recipe.name} searches over 'epochs', which hyperband decides itself; take another "
                "algorithm, or leave the field out."
            )
        if self.patience is not None and not (self.objective.startswith("val_") and recipe.dataset.validation != 0):
            raise UsageError(
                f"--patience watches validation, and the objective is {self.objective}; leave it out, or take "
                "val_accuracy or val_loss."
            )
        if self.patience is not None and "early_stopping" in {name.split(".")[0] for name in recipe.search}:
            raise UsageError(f"The recipe {recipe.name} searches over early_stopping, and --patience would set it.")

    def extended(self, trials: int | None = None, **given: Any) -> "Plan":
        """The plan of an interrupted search that is to have another number of trials.

        `given` is what else it was asked for; None for what was not said. Raises UsageError where that is another plan.
        """
        for name, value in given.items():
            mine = getattr(self, name)
            if value not in (None, mine):
                raise UsageError(
                    f"The interrupted search has the {name} {mine}, and --{name} asks for {value}; leave it out to go "
                    "on, or leave --resume out to search anew."
                )
        if trials is None or trials == self.trials:
            return self
        if self.algorithm == "hyperband" or trials < self.trials:
            raise UsageError(
                f"The interrupted search has {self.trials} trials of {self.algorithm}, and --trials asks for {trials}; "
                "leave it out to go on, or leave --resume out to search anew. More trials can be asked for, except of "
                "hyperband, which lays them all out at its beginning."
            )
        return dataclasses.replace(self, trials=trials)


class SearchFolder:
    """`artifacts/tuning/SEARCH_ID`: the plan, Keras Tuner's state, a folder for each trial, the winner's recipe.

    Workers on other machines read it too, so it lies on a disk that all of them see.
    """

    def __init__(self, search_id: str) -> None:
        self.search_id = search_id
        self.path = tuning_folder() / search_id

    def trial(self, number: int) -> Path:
        """The folder of one trial."""
        return self.path / "trials" / f"{number:04d}"

    def checkpoint(self, number: int) -> Path:
        """The state of a trial's training."""
        return self.trial(number) / "state.npz"

    def clear(self) -> None:
        """Delete the checkpoints, once nobody will go on with any trial."""
        for path in (self.path / "trials").glob("*/state.*"):
            path.unlink()

    def write(self, recipe: Recipe, plan: Plan, dataset_digest: str) -> None:
        """Write down what the search is to do, and on which images."""
        facts = {"plan": dataclasses.asdict(plan), "dataset_digest": dataset_digest}
        self.put({"recipe.yaml": recipe.to_yaml(), "plan.json": json.dumps(facts, indent=2)})

    def put(self, texts: dict[str, str]) -> dict[str, Path]:
        """Write files into the folder, each whole or not at all."""
        return write_files(self.path, {name: text.encode() for name, text in texts.items()})

    def read(self) -> tuple[Recipe, Plan, str]:
        """The recipe that is searched, the plan, and the dataset's digest. Raises PipelineError where there is none."""
        try:
            recipe = recipe_from_yaml((self.path / "recipe.yaml").read_text("utf-8"), f"of search {self.search_id}")
            facts = json.loads((self.path / "plan.json").read_text("utf-8"))
            return recipe, Plan(**facts["plan"]), facts["dataset_digest"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PipelineError(
                f"The folder {self.path} of search {self.search_id} cannot be read ({error}); all that work on a "
                "search need one ZOO_HOME, on a disk that each of them sees."
            ) from error


def interrupted_search(recipe: Recipe | None, reference: str, uri: str) -> Journal | None:
    """The latest unfinished search of the very same recipe, search block included, or with the id `reference` or the
    start of it; None where there is none to go on with. Raises UsageError where a process is still at work on it."""
    for journal in _searches(uri):
        named = len(reference) >= 4 and journal.run_id.startswith(reference)
        if not named and (recipe is None or not is_same_search(journal.recipe, recipe)):
            continue
        if not journal.hold():
            raise UsageError(
                f"Search {journal.run_id} is being worked on by another process; wait for it, or leave --resume out."
            )
        finished = journal.is_finished()
        journal.release()
        if not finished:
            return journal
    return None


def is_same_search(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes, by their names too, are searched alike."""
    return one.flat() == other.flat() and one.search == other.search


def _searches(uri: str) -> Iterator[Journal]:
    """Those that are not done with and came so far as to have a plan."""
    for journal in journals():
        try:
            facts = journal.facts
            usable = (facts["uri"], facts["kind"]) == (uri, "search") and bool(journal.recipe)
            usable = usable and (SearchFolder(journal.run_id).path / "plan.json").exists()
        except (OSError, ValueError, UsageError):  # removed since, or of a version whose recipes had other fields
            continue
        if usable:
            yield journal
