"""Whether a search found anything, and the network that comes of it."""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import keras
from mlflow.entities import Run
from scipy import stats

from pipelines.datasets.digests import Digests
from pipelines.experiment import finished_run, run_experiment
from pipelines.figures.search import seeds_compared
from pipelines.lineage import VALIDATED_BY
from pipelines.recipes import Recipe
from pipelines.registry import register
from pipelines.tracked_run import TrackedRun
from pipelines.tracking import find_run
from pipelines.tuning.final_form import final_form
from pipelines.tuning.trials import Trial

Progress = Callable[[Recipe, str], AbstractContextManager[keras.callbacks.Callback]]
"""Makes the callback that shows the progress of a run, from its recipe and what it is."""
SIGNIFICANT = 0.05
"""How likely chance alone may be to make such a difference for it to be called one."""


@dataclass(frozen=True)
class Seeds:
    """Runs of one recipe with consecutive seeds."""

    run_ids: list[str]
    test_accuracies: list[float]
    """0 to 1."""

    @property
    def mean(self) -> float:
        """0 to 1."""
        return statistics.mean(self.test_accuracies)

    @property
    def spread(self) -> float:
        """The standard deviation; 0 for a single run."""
        return statistics.stdev(self.test_accuracies) if len(self.test_accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Confirmation:
    """The winner and the recipe as it stands, trained again alike, and the network that is to be published."""

    winner: Seeds
    recipe: Seeds
    final_recipe: Recipe
    final_run_id: str
    final_test_accuracy: float
    version: int
    """In MLflow's registry."""

    @property
    def is_recipe(self) -> bool:
        """Whether the winner is the recipe as it stands."""
        return self.winner.run_ids == self.recipe.run_ids

    @property
    def difference(self) -> float:
        """Of the means; positive where the winner is better."""
        return self.winner.mean - self.recipe.mean

    @property
    def verdict(self) -> str:
        """A sentence that says whether the search found anything."""
        if self.is_recipe:
            return "The search found nothing better than the recipe as it stands."
        if self.difference == 0:
            return "The winner is as good as the recipe as it stands."
        points = f"{100 * abs(self.difference):.2f} points {'better' if self.difference > 0 else 'worse'}"
        count = len(self.winner.run_ids)
        if count < 2:
            return f"The winner is {points} than the recipe with one seed each, which tells nothing: take more --seeds."
        if self.winner.spread == self.recipe.spread == 0:
            return f"The winner is {points} than the recipe; none of {count} seeds differs from another."
        test = stats.ttest_ind(self.winner.test_accuracies, self.recipe.test_accuracies, equal_var=False)
        chance = f"Welch's t-test over {count} seeds each: p = {test.pvalue:.2g}"
        if test.pvalue < SIGNIFICANT:
            return f"The winner is {points} than the recipe ({chance})."
        return f"The winner is {points} than the recipe, which cannot be told from chance ({chance})."


def confirm(
    run: TrackedRun, recipe: Recipe, winner: Recipe, best: Trial, seeds: int, progress: Progress | None
) -> Confirmation:
    """Train the winner and the recipe with `seeds` seeds each, and the winner on all training images.

    All are runs like those of `zoo train`, nested in the search's; those that are there already, of the same recipe,
    seed, data and sources, are taken as they are. The last is trained for as many epochs as were best in the search.
    """
    trainer = _Trainer(run, progress)
    base = recipe.override({"search": {}})
    of_recipe = trainer.seeds(base, seeds, "recipe")
    of_winner = of_recipe if winner.flat() == base.flat() else trainer.seeds(winner, seeds, "winner")
    final_recipe = final_form(winner, best.best_epoch or winner.epochs, best.history)
    final, accuracy = trainer.train(final_recipe, "winner, all images")
    # It held nothing out itself, and a release is judged by images that were.
    run.client.set_tag(final.info.run_id, VALIDATED_BY, " ".join(of_winner.run_ids))
    confirmation = Confirmation(
        of_winner,
        of_recipe,
        final_recipe,
        final.info.run_id,
        accuracy,
        register(final, final_recipe),
    )
    run.log_metrics(
        {
            "winner_test_accuracy": of_winner.mean,
            "winner_test_accuracy_spread": of_winner.spread,
            "recipe_test_accuracy": of_recipe.mean,
            "recipe_test_accuracy_spread": of_recipe.spread,
        }
    )
    run.tag({"zoo.final_run": final.info.run_id, "zoo.verdict": confirmation.verdict})
    groups = {"the recipe": of_recipe.test_accuracies, "the winner": of_winner.test_accuracies}
    run.log_figure(seeds_compared(groups, f"{recipe.name}: test accuracy by seed"), "winner_and_recipe.png")
    return confirmation


class _Trainer:
    """Trains what is not there yet."""

    def __init__(self, search: TrackedRun, progress: Progress | None) -> None:
        self.search, self.progress, self.digests = search, progress, Digests()

    def seeds(self, recipe: Recipe, count: int, what: str) -> Seeds:
        """Runs with consecutive seeds: those after the recipe's own, with which the winner was chosen."""
        numbers = range(recipe.seed + 1, recipe.seed + 1 + count)
        runs = [self.train(recipe.override({"seed": seed}), f"{what} seed {seed}") for seed in numbers]
        return Seeds([run.info.run_id for run, _ in runs], [accuracy for _, accuracy in runs])

    def train(self, recipe: Recipe, what: str) -> tuple[Run, float]:
        """One finished run, and its test accuracy."""
        done = finished_run(recipe, self.digests.of(recipe.dataset.options))
        if done is not None:
            return done, done.data.metrics["test_accuracy"]
        options = {"name": what, "parent": self.search.id}
        if self.progress is None:
            trained = run_experiment(recipe, resume=True, **options)
        else:
            with self.progress(recipe, what) as callback:
                trained = run_experiment(recipe, [callback], resume=True, **options)
        run_id, accuracy = trained.run_id, trained.test_accuracy
        del trained
        keras.backend.clear_session()
        return find_run(run_id), accuracy
