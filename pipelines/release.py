"""From a run to a served version.

A version's number is MLflow's registered version number, so that a served version leads back to its run.
"""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.datasets import Split
from pipelines.errors import UsageError
from pipelines.home import models_folder
from pipelines.networks import network_of
from pipelines.recipes import Recipe
from pipelines.tracking import connect, dataset_of, recipe_of
from pipelines.training import examples
from serving.export import export_saved_model
from serving.repository import CANDIDATE, STABLE, ModelRepository
from serving.verify import verify_in_fresh_process

Step = Literal["load", "stage", "verify", "register", "rename", "serve"]
Label = Literal["stable", "candidate"]
SAMPLES = 16


@dataclass(frozen=True)
class Release:
    """A published version."""

    name: str
    version: int
    label: str
    folder: Path
    run_id: str


def publish(run: Run, label: Label | None = None, on_step: Callable[[Step], None] = lambda step: None) -> Release:
    """Export a finished run, of training or of an ensemble, and serve it as a new version under `label`.

    Without a label, a model's first version becomes stable and later ones candidate. A call that was cut short is
    finished by the next one for the same run; a run that is published already only gets its label. `on_step` hears
    of each step as it begins. Raises UsageError for a run without a network, PipelineError for one whose
    dataset has changed since, ServingError for an export that does not answer as its network.
    """
    client = connect()
    run_id = run.info.run_id
    recipe = recipe_of(run)
    repository = ModelRepository(models_folder())
    with repository.lock():
        version = repository.find_version(recipe.name, run_id)
        if version is None:
            version = _add_version(repository, run, recipe, on_step)
        on_step("serve")
        existing = repository.versions(recipe.name)
        # A folder that somebody took away can be served no more.
        labels = {k: v for k, v in repository.served().get(recipe.name, {}).items() if v in existing}
        is_stable = labels.get(STABLE) == version
        if is_stable and label == CANDIDATE:
            raise UsageError(f"{recipe.name} version {version} is the stable one; make another version stable first.")
        chosen = label or (STABLE if is_stable or existing == [version] else CANDIDATE)
        # A version has one label: what was the candidate and becomes stable is no candidate any more.
        labels = {name: number for name, number in labels.items() if number != version} | {chosen: version}
        repository.serve(recipe.name, labels)
    for alias in (STABLE, CANDIDATE):
        _copy_alias(client, recipe.name, alias, labels.get(alias))
    return Release(recipe.name, version, chosen, repository.version_folder(recipe.name, version), run_id)


def _add_version(repository: ModelRepository, run: Run, recipe: Recipe, on_step: Callable[[Step], None]) -> int:
    on_step("load")
    run_id = run.info.run_id
    model = network_of(run)
    data = dataset_of(run, recipe)
    on_step("stage")
    staged = repository.staging_folder(recipe.name, run_id)
    try:
        export_saved_model(
            model,
            staged,
            name=recipe.name,
            class_names=data.class_names,
            samples=_samples(examples(recipe, data)),
            lineage={
                "run_id": run_id,
                "recipe": recipe.model_dump(mode="json", exclude={"search"}),
                "commit": run.data.tags.get("mlflow.source.git.commit"),
                "dataset_digest": run.data.tags.get("zoo.dataset_digest"),
                "metrics": run.data.metrics,
                **_membership(run),
            },
        )
        on_step("verify")
        verify_in_fresh_process(staged)
        on_step("register")
        version = register(run, recipe)
        on_step("rename")
        repository.commit(staged, version)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return version


def _membership(run: Run) -> dict[str, object]:
    """Of an ensemble, the ids of its members' runs and how they vote."""
    members, vote = (run.data.tags.get(f"zoo.{tag}") for tag in ("members", "vote"))
    return {"members": members.split(), "vote": vote} if members else {}


def _samples(split: Split) -> np.ndarray:
    """A few images, of as many classes as possible."""
    images, labels = split.images, split.labels
    first_of_class = np.unique(labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(labels)), first_of_class)
    return images[np.concatenate([first_of_class, others])[:SAMPLES]]


def register(run: Run, recipe: Recipe) -> int:
    """The run's version number in MLflow's registry; the one it has, where an earlier call came this far.

    Raises UsageError for a run that kept no network.
    """
    client = connect()
    with contextlib.suppress(MlflowException):
        client.create_registered_model(recipe.name, description=recipe.description)
    run_id = run.info.run_id
    existing: list[ModelVersion] = list(client.search_model_versions(f"run_id = '{run_id}'"))
    mine = [int(found.version) for found in existing if found.name == recipe.name]
    if mine:
        return mine[0]
    outputs = run.outputs.model_outputs if run.outputs else []
    if not outputs:
        raise UsageError(f"Run {run_id} kept no network in MLflow; train it again with `zoo train`.")
    source = f"models:/{outputs[0].model_id}"
    return int(client.create_model_version(recipe.name, source, run_id=run_id).version)


def _copy_alias(client: MlflowClient, name: str, alias: str, version: int | None) -> None:
    """Let MLflow's alias say what `models.config` says."""
    if version is not None:
        client.set_registered_model_alias(name, alias, str(version))
    elif alias in client.get_registered_model(name).aliases:
        client.delete_registered_model_alias(name, alias)
