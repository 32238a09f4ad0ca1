"""From a run to a candidate: an exported version that a model server offers for trial.

A version's number is MLflow's registered version number, so that a served version leads back to its run. What makes a
candidate the stable version is `pipelines.promotion`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlflow.entities import Run

from pipelines.home import models_folder
from pipelines.lineage import validation_of
from pipelines.networks import network_of
from pipelines.recipes import Recipe
from pipelines.registry import CONTENT_HASH, register, repair_aliases
from pipelines.release_log import ReleaseLog
from pipelines.tracking import connect, dataset_of, recipe_of
from pipelines.training import examples
from serving.export import export_saved_model
from serving.repository import CANDIDATE, STABLE, ModelRepository
from serving.verify import verify_in_fresh_process

Step = Literal["load", "stage", "verify", "register", "rename", "serve"]
SAMPLES = 16
"""Images, or signals, that lie beside an export, with the network's answers."""


@dataclass(frozen=True)
class Release:
    """A published version."""

    name: str
    version: int
    label: str
    folder: Path
    run_id: str


def publish(run: Run, on_step: Callable[[Step], None] = lambda step: None) -> Release:
    """Export a finished run, of training or of an ensemble, and serve it as the model's candidate.

    A call that was cut short is finished by the next one for the same run; a run that is published already becomes the
    candidate again, unless it is the stable version. `on_step` hears of each step as it begins. Raises UsageError for a
    run without a network, PipelineError for one whose dataset has changed since, ServingError for an export that does
    not answer as its network.
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
        served = repository.served_of(recipe.name)
        if served.stable != version:
            served = replace(served, candidate=version)
        pending = ReleaseLog(repository.root / recipe.name).pending
        # What is beside the stable version was let through, or stands there by somebody's hand.
        let_through = (pending.version,) if pending else ()
        served = replace(served, beside=tuple(number for number in served.beside if number in let_through))
        repository.serve(recipe.name, served)
        repair_aliases(client, recipe.name, served)
    label = STABLE if served.stable == version else CANDIDATE
    return Release(recipe.name, version, label, repository.version_folder(recipe.name, version), run_id)


def _add_version(repository: ModelRepository, run: Run, recipe: Recipe, on_step: Callable[[Step], None]) -> int:
    on_step("load")
    run_id = run.info.run_id
    model = network_of(run)
    data = dataset_of(run, recipe)
    on_step("stage")
    staged = repository.staging_folder(recipe.name, run_id)
    try:
        digest = export_saved_model(
            model,
            staged,
            name=recipe.name,
            class_names=data.class_names,
            samples=examples(recipe, data).some_of_each_class(SAMPLES).images,
            lineage={
                "run_id": run_id,
                "recipe": recipe.model_dump(mode="json", exclude={"search"}),
                "commit": run.data.tags.get("mlflow.source.git.commit"),
                "dataset_digest": run.data.tags.get("zoo.dataset_digest"),
                "metrics": run.data.metrics,
                "validation": validation_of(run, recipe),
                **_membership(run),
            },
        )
        on_step("verify")
        verify_in_fresh_process(staged)
        on_step("register")
        version = register(run, recipe)
        repository.free_folder(recipe.name, version)
        connect().set_model_version_tag(recipe.name, str(version), CONTENT_HASH, digest)
        on_step("rename")
        repository.commit(staged, version)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return version


def _membership(run: Run) -> dict[str, object]:
    """Of an ensemble, the ids of its members' runs and how they vote."""
    members, vote = (run.data.tags.get(f"zoo.{tag}") for tag in ("members", "vote"))
    return {"members": members.split(), "vote": vote} if members else {}
