"""What a run records of its network's test images, or signals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import keras

from pipelines.datasets import Dataset
from pipelines.evaluation.answers import Evaluation
from pipelines.evaluation.findings import examine
from pipelines.evaluation.page import render_page
from pipelines.figures.curves import learning_curves
from pipelines.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.tracked_run import TrackedRun

SECONDS = 0.5
"""For the measurement of speed: a run's time is for training. `zoo evaluate` takes longer over it."""


def record_evaluation(
    run: "TrackedRun",
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    history: Mapping[str, Sequence[float]] | None = None,
) -> Evaluation:
    """Evaluate a network on the test examples and record it: metrics, `test_report.txt`, figures, `evaluation.html`.

    `history` has `loss`, `accuracy` and, where there are some, `val_loss` and `val_accuracy`, a value an epoch, for the
    page's learning curves.
    Raises PipelineError for a network whose scores are no numbers.
    """
    findings = examine(model, data.test, data.class_names, SECONDS)
    evaluation = findings.evaluation
    run.log_metrics({**{f"test_{name}": value for name, value in evaluation.metrics().items()}, **findings.costs()})
    run.log_text(evaluation.report(), "test_report.txt")
    figures = evaluation.figures()
    for filename, figure in figures.items():
        run.log_figure(figure, f"test_{filename}")
    if history:
        figures["learning_curves.png"] = learning_curves(history, recipe.name)
    tags = {**run.tags, "zoo.dataset_digest": data.digest}
    subtitle, lineage = describe(recipe, tags, "test"), run_lineage(run.id, tags)
    page = render_page(recipe.name, subtitle, findings, figures, lineage, recipe.to_yaml())
    run.log_text(page, "evaluation.html")
    return evaluation


def describe(recipe: Recipe, tags: Mapping[str, str], split: str) -> str:
    """What a run's network is and what it was asked about, in a line."""
    members = tags.get("zoo.members", "").split()
    ensemble = f"{tags.get('zoo.vote')} of {len(members)} networks"
    what = ensemble if members else f"{recipe.network.name}, seed {recipe.seed}"
    return f"{what}; {split} split of {recipe.dataset.title}"


def run_lineage(run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Where a run's network comes from, for people, from the run's tags."""
    changed = ", and changes since" if tags.get("zoo.git_changed") == "true" else ""
    commit = tags.get("mlflow.source.git.commit")
    packages = ("python", "tensorflow", "keras")
    found = {
        "run": run_id,
        "members": tags.get("zoo.members"),
        "vote": tags.get("zoo.vote"),
        "commit": commit and f"{commit}{changed}",
        "dataset digest": tags.get("zoo.dataset_digest"),
        **{package: tags.get(f"zoo.version.{package}") for package in packages},
    }
    return {what: value for what, value in found.items() if value}
