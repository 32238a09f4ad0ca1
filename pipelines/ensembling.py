"""A tracked ensemble of runs: what `zoo ensemble` does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import keras
from mlflow.entities import Run

from pipelines.datasets import Dataset
from pipelines.errors import UsageError
from pipelines.evaluation import Evaluation, evaluate, record_evaluation
from pipelines.evaluation.speed import measure_size
from pipelines.networks import network_of
from pipelines.recipes import Recipe, list_recipes
from pipelines.results_table import recipe_digest
from pipelines.tracking import dataset_of, find_run, recipe_of, search_runs, track
from pipelines.voting import Vote, combine

Step = Literal["load", "validate", "test", "keep"]


@dataclass(frozen=True)
class Ensemble:
    """A finished ensemble."""

    run_id: str
    recipe: Recipe
    """Of its first member, under the ensemble's name."""
    member_ids: tuple[str, ...]
    vote: Vote
    model: keras.Model
    data: Dataset
    validation_accuracy: float | None
    """None where no images are held out."""
    evaluation: Evaluation
    """Of the test examples."""


def find_members(references: Sequence[str], seeds: int | None = None) -> list[Run]:
    """The training runs that make up an ensemble.

    `references` are two or more runs, by id, start of id or recipe; or one recipe, with the number of `seeds`: the
    latest finished run of each seed with the settings of the latest of all, and of those the latest. Raises UsageError
    where there are not as many.
    """
    if seeds is None:
        members = [find_run(reference, "train") for reference in references]
        ids = [member.info.run_id for member in members]
        twice = next((i for i, run_id in enumerate(ids) if run_id in ids[:i]), None)
        if twice is not None:
            raise UsageError(f"'{references[twice]}' is run {ids[twice][:8]}, which is a member already.")
        if len(members) < 2:
            raise UsageError(
                f"An ensemble has at least two members, and '{references[0]}' is one run; name more, or a recipe with "
                "--seeds 3."
            )
        return members
    if len(references) != 1:
        raise UsageError(f"--seeds chooses among the runs of one recipe; received {', '.join(references)}.")
    recipe = references[0]
    latest: dict[str, Run] = {}
    settings = None
    for run in search_runs():
        tags = run.data.tags
        if (tags["zoo.kind"], tags.get("zoo.recipe"), run.info.status) == ("train", recipe, "FINISHED"):
            # Those with the settings of the latest: a trial with --set is no seed of the same.
            digest = recipe_digest(recipe_of(run))
            settings = settings or digest
            if digest == settings:
                latest.setdefault(tags["zoo.seed"], run)
    if len(latest) < seeds:
        raise UsageError(
            f"The recipe '{recipe}' has finished runs of {len(latest)} seeds and not of {seeds}; run "
            f"zoo train {recipe} --seeds {seeds} first."
        )
    return sorted(list(latest.values())[:seeds], key=lambda run: int(run.data.tags["zoo.seed"]))


def make_ensemble(
    runs: Sequence[Run],
    vote: Vote = "mean",
    name: str | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Ensemble:
    """Combine the networks of some training runs, evaluate them as one and track that in a run of kind `ensemble`.

    Validation, if any, comes first; the test examples are read once. Without a `name` it is called RECIPE_ensemble.
    `on_step` hears of each step as it begins. Raises UsageError for runs that do not fit together or kept no network,
    and for a name that is a recipe's; PipelineError for a dataset that has changed since.
    """
    recipes = [recipe_of(run) for run in runs]
    recipe = _recipe(runs, recipes, vote, name)
    _check_digests(runs)
    on_step("load")
    members = [network_of(run) for run in runs]
    model = combine(members, vote, recipe.name)
    data = dataset_of(runs[0], recipe)
    ids = tuple(run.info.run_id for run in runs)
    with track(
        recipe, "ensemble", name=recipe.name, more_tags={"zoo.members": " ".join(ids), "zoo.vote": vote}
    ) as tracked:
        tracked.log_dataset(data)
        tracked.log_metrics({"parameters": measure_size(model).parameters})
        validation = None
        if len(data.validation):
            on_step("validate")
            validation = evaluate(model, data.validation, data.class_names)
            tracked.log_metrics({"val_accuracy": validation.accuracy, "val_loss": validation.loss})
        on_step("test")
        evaluation = record_evaluation(tracked, model, data, recipe)
        on_step("keep")
        tracked.log_model(model)
    accuracy = validation.accuracy if validation else None
    return Ensemble(tracked.id, recipe, ids, vote, model, data, accuracy, evaluation)


def _recipe(runs: Sequence[Run], recipes: Sequence[Recipe], vote: Vote, name: str | None) -> Recipe:
    """The first member's recipe under the ensemble's name, with a description that says what it is."""
    names = {recipe.name for recipe in recipes}
    if name is None and len(names) > 1:
        raise UsageError(f"The members are of the recipes {', '.join(sorted(names))}; name the ensemble with --name.")
    if name is not None and name in names | set(list_recipes()):
        raise UsageError(f"--name {name} is a recipe's; its runs and the ensemble could not be told apart.")
    members = ", ".join(
        f"{recipe.name} seed {recipe.seed} (run {run.info.run_id[:8]})"
        for run, recipe in zip(runs, recipes, strict=True)
    )
    how = "Mean probabilities" if vote == "mean" else "Majority vote"
    return recipes[0].override(
        {
            "name": name or f"{recipes[0].name}_ensemble",
            "description": f"{how} of {len(runs)} networks: {members}.",
            "paper": None,  # which is about one network
            "search": {},
        }
    )


def _check_digests(runs: Sequence[Run]) -> None:
    """Raise UsageError unless all members were trained on the same dataset."""
    first, *others = runs
    digest = first.data.tags.get("zoo.dataset_digest", "none")
    for other in others:
        digest_of_other = other.data.tags.get("zoo.dataset_digest", "none")
        if digest_of_other != digest:
            raise UsageError(
                f"The members of an ensemble are trained on one dataset; run {first.info.run_id[:8]}'s has the digest "
                f"{digest[:12]}, run {other.info.run_id[:8]}'s {digest_of_other[:12]}."
            )
