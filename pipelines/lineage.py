"""From a served version to where it comes from: its run, its commit, its dataset."""

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError
from pipelines.home import models_folder
from pipelines.recipes import Recipe
from pipelines.tracking import connect, recipe_of, validation_accuracy
from serving.artifact import read_lineage
from serving.repository import ModelRepository

VALIDATED_BY = "zoo.validated_by"
"""The tag of a run that held no images out: the runs of its recipe that did."""


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from. Its fields are None where nothing can tell."""

    model: str
    version: int
    run_id: str | None = None
    commit: str | None = None
    dataset_digest: str | None = None
    told_by: str | None = None
    """`MLflow`, or `repository`: the file beside the version on this machine."""


def lineage_of(model: str, version: int) -> Lineage:
    """From MLflow's registry where a tracking server is named (MLFLOW_TRACKING_URI), which then has the numbers of all
    versions; else, or where it cannot tell, from the file beside the version in this machine's repository."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        with contextlib.suppress(MlflowException, PipelineError, OSError):
            client = connect()
            run_id = client.get_model_version(model, str(version)).run_id or ""
            tags = client.get_run(run_id).data.tags
            commit, digest = tags.get("mlflow.source.git.commit"), tags.get("zoo.dataset_digest")
            return Lineage(model, version, run_id, commit, digest, "MLflow")
    facts = read_lineage(ModelRepository(models_folder()).version_folder(model, version))
    if not facts:
        return Lineage(model, version)
    origin = (facts.get("run_id"), facts.get("commit"), facts.get("dataset_digest"))
    return Lineage(model, version, *origin, "repository")


def validation_of(run: Run, recipe: Recipe) -> dict[str, Any] | None:
    """How a run's network does on images that were held out: `accuracy` (0 to 1), the `dataset_digest` that tells which
    images, and the `run_ids` that were measured. None where nothing was held out.

    A run on all training images has no such figure of its own; it has the mean of those runs of its recipe that it was
    made after (`zoo tune` trains them).
    """
    accuracy = validation_accuracy(run, recipe)
    if accuracy is not None:
        return _figure([run], [accuracy])
    ids = run.data.tags.get(VALIDATED_BY, "").split()
    try:
        runs = [connect().get_run(run_id) for run_id in ids]
    except MlflowException:  # deleted since
        return None
    accuracies = [found for found in (validation_accuracy(r, recipe_of(r)) for r in runs) if found is not None]
    return _figure(runs, accuracies) if accuracies and len(accuracies) == len(runs) else None


def _figure(runs: list[Run], accuracies: list[float]) -> dict[str, Any]:
    return {
        "accuracy": sum(accuracies) / len(accuracies),
        "dataset_digest": runs[0].data.tags.get("zoo.dataset_digest"),
        "run_ids": [run.info.run_id for run in runs],
    }
