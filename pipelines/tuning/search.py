"""A search over any fields of a recipe, from its plan to its winner.

Each search is an MLflow run, each of its trials a run nested in it. Validation decides; no trial sees a test image.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipelines.datasets import Dataset, load_dataset
from pipelines.errors import PipelineError, Stopped
from pipelines.figures.parallel import parallel_coordinates, scale_of
from pipelines.figures.search import importance, objective_over_trials
from pipelines.journal import Journal
from pipelines.recipes import Recipe
from pipelines.tracked_run import TrackedRun
from pipelines.tracking import track
from pipelines.tuning.importance import field_importance
from pipelines.tuning.loop import work
from pipelines.tuning.oracles import make_oracle
from pipelines.tuning.plan import Plan, SearchFolder
from pipelines.tuning.runner import TrialRunner, Watch, new_trial, read_outcome
from pipelines.tuning.space import check_space
from pipelines.tuning.sturdy import SturdyOracle
from pipelines.tuning.trials import Trial
from pipelines.tuning.winner import Confirmation, Progress, confirm

IN_PROCESS = "tuner0"
"""Keras Tuner's name for a search without workers."""


@dataclass(frozen=True)
class Job:
    """A search in progress, for who has its trials trained."""

    recipe: Recipe
    plan: Plan
    folder: SearchFolder
    data: Dataset
    oracle: SturdyOracle
    watch: Watch


@dataclass(frozen=True)
class Search:
    """A finished search and its best trial's recipe, which is also in the file `winner_file`."""

    run_id: str
    plan: Plan
    fields: tuple[str, ...]
    """Those that were searched over."""
    trials: list[Trial] = field(repr=False)
    best: Trial
    winner: Recipe
    winner_file: Path
    confirmation: Confirmation | None = None
    problem: str = ""
    """Why there is no confirmation, where one was asked for."""


def alone(job: Job) -> None:
    """Train the trials one after the other in this process."""
    work(job.oracle, IN_PROCESS, TrialRunner(job.recipe, job.plan, job.folder, job.data, job.watch))


def search(
    recipe: Recipe,
    plan: Plan,
    watch: Watch,
    *,
    conduct: Callable[[Job], None] = alone,
    resume: Journal | None = None,
    minutes: float | None = None,
    seeds: int = 0,
    progress: Progress | None = None,
) -> Search:
    """Search over the recipe's `search:` block; fewer trials than planned where the space has no more.

    Args:
        conduct: has the trials trained, and returns when all have ended.
        resume: the journal of an interrupted search, which goes on in its own run.
        minutes: begin no trial later than this; those in progress are ended.
        seeds: train the winner and the recipe again with so many seeds each, and the winner on all training images;
            0 to leave that out.
        progress: makes the callback that shows such a run's progress.

    Raises UsageError for what cannot be searched, PipelineError when every trial failed.
    """
    plan.check(recipe)
    data = load_dataset(**recipe.dataset.options)
    check_space(recipe, data)
    if resume is not None and resume.dataset_digest() not in (None, data.digest):
        raise PipelineError(
            f"Search {resume.run_id} was interrupted on other data than today's {data.name}; put back what it was, or "
            "search anew without --resume."
        )
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    with track(recipe, "search", name=f"search {recipe.name}", resume=resume) as run:
        folder = SearchFolder(run.id)
        folder.write(recipe, plan, data.digest)
        _describe(run, recipe, plan, data)
        oracle = make_oracle(recipe, plan, folder)
        oracle.deadline = deadline
        watch.recall([t for t in read_trials(recipe, oracle, folder) if t.is_finished or t.error])
        conduct(Job(recipe, plan, folder, data, oracle, watch))
        folder.clear()
        trials = read_trials(recipe, oracle, folder)
        best = best_trial(trials, plan)
        winner = recipe.override({**best.settings, "search": {}})
        _record(run, recipe, plan, trials, best)
        file = folder.put({"winner.yaml": winner.to_yaml()})["winner.yaml"]
        run.log_text(winner.to_yaml(), "winner.yaml")
        confirmation = None
        problem = ""
        if seeds:
            is_recipe = best.settings == trials[0].settings
            try:
                confirmation = confirm(run, recipe, recipe if is_recipe else winner, best, seeds, progress)
            except Stopped:
                raise
            except PipelineError as error:  # the search has come to its end nevertheless
                problem = str(error)
                run.tag({"zoo.error": problem[:500]})
            else:
                final = confirmation.final_recipe.to_yaml()
                folder.put({"final.yaml": final})
                run.log_text(final, "final.yaml")
    return Search(run.id, plan, tuple(recipe.search), trials, best, winner, file, confirmation, problem)


def read_trials(recipe: Recipe, oracle: SturdyOracle, folder: SearchFolder) -> list[Trial]:
    """All trials that have begun, in their order."""
    begun = [oracle.trials[number] for number in oracle.start_order]
    return [read_outcome(folder, int(trial.trial_id)) or new_trial(recipe, trial) for trial in begun]


def best_trial(trials: list[Trial], plan: Plan) -> Trial:
    """The trial with the best objective, the earlier of equals. Raises PipelineError where none has one."""
    finished = [trial for trial in trials if trial.objective is not None]
    if not finished:
        failed = [trial for trial in trials if trial.error]
        last = f", the last with: {failed[-1].error}" if failed else ""
        what = f"Each of the {len(trials)} trials failed" if trials else "No trial began before the time limit"
        raise PipelineError(f"{what}{last or '.'}")
    return max(finished, key=lambda trial: plan.sign * (trial.objective or 0.0))


def _describe(run: TrackedRun, recipe: Recipe, plan: Plan, data: Dataset) -> None:
    run.log_dataset(data)
    run.log_params({f"search.{name}": space.model_dump(mode="json") for name, space in recipe.search.items()})
    # As tags, for a search that goes on with more trials changes them.
    run.tag({f"zoo.search.{name}": str(value) for name, value in asdict(plan).items() if value is not None})


def _record(run: TrackedRun, recipe: Recipe, plan: Plan, trials: list[Trial], best: Trial) -> None:
    failed = sum(bool(trial.error) for trial in trials)
    metrics = {"trials": len(trials), "failed_trials": failed, "best_trial": best.number}
    run.log_metrics({plan.objective: best.objective or 0.0, "objective": best.objective or 0.0, **metrics})
    run.tag({f"zoo.best.{name}": str(value) for name, value in best.settings.items()})
    run.log_text(json.dumps([asdict(trial) for trial in trials], indent=1), "trials.json")
    scales = {name: scale_of(space) for name, space in recipe.search.items()}
    run.log_figure(
        objective_over_trials(trials, plan.objective, plan.direction, best=best.number), "objective_over_trials.png"
    )
    run.log_figure(
        parallel_coordinates(trials, scales, plan.objective, plan.direction, best=best.number),
        "parallel_coordinates.png",
    )
    shares = field_importance(trials, scales)
    if shares:
        run.log_figure(importance(shares, plan.objective), "importance.png")
        run.log_metrics({f"importance.{name}": share for name, share in shares.items()})
