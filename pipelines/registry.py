"""MLflow's model registry: which run a version's number stands for, and the aliases that repeat `models.config`."""

import contextlib

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipelines.errors import UsageError
from pipelines.recipes import Recipe
from pipelines.tracking import connect
from serving.repository import CANDIDATE, STABLE, Served

CONTENT_HASH = "zoo.content_hash"
"""The tag of a registered version that tells what its run exported."""


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
    model_id = outputs[0].model_id
    # A tracking server wants the id besides the source that names it; a database does not.
    made = client.create_model_version(recipe.name, f"models:/{model_id}", run_id=run_id, model_id=model_id)
    return int(made.version)


def repair_aliases(client: MlflowClient, name: str, served: Served) -> list[str]:
    """Let MLflow's aliases say what `models.config` says; a sentence for each that said something else."""
    aliases = {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}
    done = []
    for alias in (STABLE, CANDIDATE):
        right, found = served.labels.get(alias), aliases.get(alias)
        if right == found:
            continue
        if right is None:
            client.delete_registered_model_alias(name, alias)
        else:
            client.set_registered_model_alias(name, alias, str(right))
        done.append(f"alias {alias} of {name}: {_shown(found)} in MLflow, now {_shown(right)}")
    return done


def _shown(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
