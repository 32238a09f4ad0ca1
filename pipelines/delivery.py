"""From a run's journal to MLflow: entry by entry, in their order, each as often as it takes.

Whatever an entry does can be done twice with the same outcome, for a process can be killed between sending one and
writing down that it did.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from pipelines.journal import Entry, Journal

if TYPE_CHECKING:
    import keras

MODEL = "model"
MODEL_FILE = "model.keras"
# What MLflow's client makes of a server that is not there, does not answer, or breaks down.
AWAY = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}


def deliver(client: MlflowClient, journal: Journal, model: "keras.Model | None" = None) -> None:
    """Send what has not been sent. Raises as MLflow's client does at the first entry that does not arrive.

    `model` is the network that the journal's file holds, where it is still in memory.
    """
    for entry in journal.unsent():
        kind = entry["kind"]
        if kind == "model":
            _log_model(client, journal, model)
        elif kind == "file":
            path = Path(entry["path"])
            folder = path.parent.as_posix()
            client.log_artifact(journal.run_id, str(journal.files / path), None if folder == "." else folder)
        else:
            _SENDERS[kind](client, journal.run_id, entry)
        journal.mark_sent(1)


def is_away(error: Exception) -> bool:
    """Whether an error means that the tracking store cannot be reached now, rather than that it refuses."""
    if isinstance(error, requests.HTTPError):
        return error.response is None or error.response.status_code >= 500
    if isinstance(error, MlflowException):
        return error.error_code in AWAY
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)


def _send_metrics(client: MlflowClient, run_id: str, entry: Entry) -> None:
    metrics = [Metric(name, value, entry["time"], entry["step"]) for name, value in entry["values"].items()]
    client.log_batch(run_id, metrics=metrics)


def _send_params(client: MlflowClient, run_id: str, entry: Entry) -> None:
    client.log_batch(run_id, params=[Param(name, value) for name, value in entry["values"].items()])


def _send_tags(client: MlflowClient, run_id: str, entry: Entry) -> None:
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in entry["values"].items()])


def _send_dataset(client: MlflowClient, run_id: str, entry: Entry) -> None:
    context = InputTag(MLFLOW_DATASET_CONTEXT, "training")
    client.log_inputs(run_id, [DatasetInput(Dataset(**entry["dataset"]), tags=[context])])


def _send_status(client: MlflowClient, run_id: str, entry: Entry) -> None:
    if entry["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, entry["status"], entry["time"])


_SENDERS: dict[str, Callable[[MlflowClient, str, Entry], None]] = {
    "metrics": _send_metrics,
    "params": _send_params,
    "tags": _send_tags,
    "dataset": _send_dataset,
    "status": _send_status,
}


def _log_model(client: MlflowClient, journal: Journal, model: "keras.Model | None") -> None:
    """Log the network as MLflow's model `model`, unless the run has it already."""
    import mlflow.keras
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from pipelines.networks import load_network

    run = client.get_run(journal.run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    # An upload that broke off has left a model that is not ready: it gets its files now.
    if outputs and client.get_logged_model(outputs[0].model_id).status == LoggedModelStatus.READY:
        return
    network = model or load_network(journal.files / MODEL_FILE)
    example, scores = network.input, network.output
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), (-1, *example.shape[1:]), example.name)]),
        Schema([TensorSpec(np.dtype("float32"), (-1, *scores.shape[1:]))]),
    )
    if outputs:
        model_id = outputs[0].model_id
    else:
        # In the run's experiment: MLflow's default would be that of an active run, and there is none.
        experiment = run.info.experiment_id
        model_id = client.create_logged_model(experiment, name=MODEL, source_run_id=journal.run_id).model_id
    Model.log(
        artifact_path=None,
        model_id=model_id,
        flavor=mlflow.keras,
        run_id=None if outputs else journal.run_id,  # MLflow ties a model to its run once only
        name=MODEL,
        model=network,
        signature=signature,
        # Named requirements spare MLflow a subprocess that loads the model to guess them.
        pip_requirements=_requirements(),
    )


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in ("keras", "tensorflow", "numpy")]
