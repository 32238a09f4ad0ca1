"""A model with four versions, and a model server in this process that serves what a test's home says."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import grpc
import keras
import pytest

import serving.export
from pipelines.home import models_folder
from pipelines.publication import publish
from pipelines.registry import repair_aliases
from pipelines.tracking import connect, find_run, track
from serving.client import GrpcClient, wait_until_available
from serving.model_server.errors import ServerError
from serving.model_server.flags import parse_flags
from serving.model_server.manager import ModelManager
from serving.model_server.server import ModelServer
from serving.ports import free_ports
from serving.repository import ModelRepository, Served, candidate_name

NAME = "digits_cnn"
STABLE, TWIN, WORSE, DIFFERENT = 1, 2, 3, 4


def log_run(published, model, accuracy):
    """A run like the published one, with this network and this validation accuracy."""
    with track(published.run.recipe, "train") as run:
        run.log_dataset(published.run.data)
        run.log_metrics({"val_accuracy": accuracy, "test_accuracy": published.run.test_accuracy})
        run.log_model(model)
    return find_run(run.id)


def untrained(model):
    """The same network with its first weights."""
    return keras.models.clone_model(model)


@pytest.fixture(scope="session")
def _template(tmp_path_factory, published):
    """Version 1 is stable; 2 is the same network again; 3 is one that has learnt nothing; the graph of 4 halves the
    pixels, so that it does not answer as its run's network does."""
    home = tmp_path_factory.mktemp("released") / "home"
    home.mkdir()
    shutil.copy(published.home / "mlflow.db", home)
    shutil.copytree(published.home / "models", home / "models")
    right = serving.export._add_endpoints

    def halved(archive, model, class_names):
        image = keras.Input(model.input.shape[1:], name="image")
        right(archive, keras.Model(image, model(image / 2)), class_names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        patch.setattr("pipelines.publication.verify_in_fresh_process", lambda folder: None)
        good = published.run.validation_accuracy
        for model, accuracy in ((published.run.model, good), (untrained(published.run.model), 0.1)):
            publish(log_run(published, model, accuracy))
        patch.setattr(serving.export, "_add_endpoints", halved)
        publish(log_run(published, published.run.model, good))
    return home


@dataclass(frozen=True)
class Released:
    """A home with the four versions, the first of them stable and the second the candidate."""

    home: Path

    @property
    def repository(self):
        return ModelRepository(models_folder())

    @property
    def served(self):
        return self.repository.served().get(NAME, Served())

    @property
    def aliases(self):
        return {k: int(v) for k, v in connect().get_registered_model(NAME).aliases.items()}


@pytest.fixture
def released(_template, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(_template, home)
    monkeypatch.setenv("ZOO_HOME", str(home))
    found = Released(home)
    start = Served(stable=STABLE, candidate=TWIN)
    found.repository.serve(NAME, start)
    repair_aliases(connect(), NAME, start)
    return found


@pytest.fixture
def serve():
    """Start a model server on a home; the client of its gRPC port."""
    running, clients = [], []

    def start(home, poll=1):
        (port,) = free_ports(1)
        flags = [f"--model_config_file={home}/models/models.config", f"--port={port}"]
        server = ModelServer(parse_flags([*flags, f"--model_config_file_poll_wait_seconds={poll}"]))
        server.start()
        running.append(server)
        clients.append(GrpcClient(f"127.0.0.1:{port}", 30.0))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
    for server in running:
        server.stop()


@pytest.fixture
def client(released, serve, tensorflow_servings_rule):
    """Of a server that has the stable version and the candidate loaded."""
    client = serve(released.home)
    wait_until_available(client, NAME, STABLE, 60)
    wait_until_available(client, candidate_name(NAME), TWIN, 60)
    return client


@pytest.fixture
def answering(client, published):
    """Which version answers for a label, or without one."""
    image = published.run.data.test.images[:1]
    return lambda label="stable", name=NAME: client.ask(name, {"image": image}, label=label).version


@pytest.fixture
def tensorflow_servings_rule(monkeypatch):
    """Have the model servers of this process refuse what TensorFlow Serving refuses: it looks at labels before it loads
    anything, and one that it has must not move to a version that is not AVAILABLE."""
    right = ModelManager.apply

    def apply(self, config, still_wanted=lambda: True):
        for model in config.models:
            known = self._models.get(model.name)
            labels = known.labels if known else {}
            available = {version.number for version in known.available()} if known else set()
            for label, version in model.labels.items():
                if label in labels and version not in available:
                    raise ServerError(grpc.StatusCode.FAILED_PRECONDITION, f"{label} to version {version}: unavailable")
        right(self, config, still_wanted)

    monkeypatch.setattr(ModelManager, "apply", apply)
