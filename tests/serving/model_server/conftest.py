"""Small SavedModels, servers on free ports in this process, and a client for both transports."""

import itertools
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from serving.model_server.flags import parse_flags
from serving.model_server.server import ModelServer
from serving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.tensors import array_from_proto, array_to_proto
from tests.serving.model_server.small_models import save_small_models, write_warm_up


class Client:
    """What a user of the server does, over real sockets."""

    def __init__(self, grpc_port: int, rest_port: int) -> None:
        self.ports = grpc_port, rest_port
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options=options)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{rest_port}", timeout=60)

    def request(self, name: str, inputs: dict[str, Any], **spec: Any) -> Any:
        request = predict_pb2.PredictRequest(output_filter=spec.pop("output_filter", []))
        request.model_spec.name = name
        _specify(request.model_spec, **spec)
        for alias, value in inputs.items():
            request.inputs[alias].CopyFrom(array_to_proto(np.asarray(value), as_content=False))
        return request

    def predict(self, name: str, inputs: dict[str, Any], **spec: Any) -> dict[str, Any]:
        response = self.prediction.Predict(self.request(name, inputs, **spec))
        return {alias: array_from_proto(proto).tolist() for alias, proto in response.outputs.items()}

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Posts to (or without a body gets) a path below /v1/models/: status code and decoded answer."""
        path = f"/v1/models/{path}"
        if body is None:
            response = self.http.get(path)
        elif isinstance(body, str | bytes):
            response = self.http.post(path, content=body)
        else:
            response = self.http.post(path, json=body)
        return response.status_code, response.json()

    def states(self, name: str, **spec: Any) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        _specify(request.model_spec, **spec)
        statuses = self.models.GetModelStatus(request).model_version_status
        return {status.version: status.State.Name(status.state) for status in statuses}

    def metadata(self, name: str, **spec: Any) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = name
        _specify(request.model_spec, **spec)
        return self.prediction.GetModelMetadata(request)

    def wait_for(self, name: str, states: dict[int, str]) -> None:
        """Waits until the model's versions are in these states; pytest's timeout is the limit."""
        for _ in range(600):
            try:
                if self.states(name) == states:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{name} is {self.states(name)}, not {states}")

    def close(self) -> None:
        self.channel.close()
        self.http.close()


def _specify(spec: Any, version: int | None = None, label: str | None = None, signature: str = "") -> None:
    spec.signature_name = signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


class Library:
    """SavedModels, made once and copied to where a test wants a version of them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, base_path: Path, version: str | int) -> Path:
        """Adds a version by one rename, as a publisher does."""
        base_path.mkdir(parents=True, exist_ok=True)
        staging = base_path / f".staging-{version}"
        shutil.copytree(self.root / name, staging)
        return staging.rename(base_path / str(version))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("library")
    save_small_models(root)
    return Library(root)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def ports():
    """Finds this many free ports."""
    return free_ports


@pytest.fixture(scope="session")
def connect():
    """Makes a client for a gRPC and a REST port."""
    return Client


def model_config(name: str, base_path: Path, extra: str = "") -> str:
    return f'  config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow" {extra} }}\n'


@pytest.fixture(scope="session")
def configure():
    """Writes one model's entry of a config file: name, base path, and the policy and labels as text."""
    return model_config


class Servers:
    """Starts servers in this process and stops them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._running: list[ModelServer] = []
        self._clients: list[Client] = []

    def write(self, models: str) -> None:
        """Puts a new config in place by one rename, as a publisher does."""
        staging = self._folder / ".models.config"
        staging.write_text(f"model_config_list {{\n{models}}}\n")
        staging.rename(self.config_file)

    def start(self, models: str, *flags: str, ports: tuple[int, int] | None = None) -> Client:
        self.config_file = self._folder / f"models-{next(self._numbers)}.config"
        self.write(models)
        grpc_port, rest_port = ports or free_ports(2)
        arguments = [f"--port={grpc_port}", f"--rest_api_port={rest_port}", f"--model_config_file={self.config_file}"]
        server = ModelServer(parse_flags([*arguments, "--max_num_load_retries=0", *flags]))
        client = Client(grpc_port, rest_port)
        server.start()
        self._running.append(server)
        self._clients.append(client)
        return client

    def stop(self, *, drained: bool = True) -> None:
        """Stops the servers; the clients stay open, for a test may still be reading an answer."""
        for server in self._running:
            assert server.stop() is drained
        self._running.clear()

    def close(self) -> None:
        self.stop()
        for client in self._clients:
            client.close()


@pytest.fixture
def servers(tmp_path: Path, library: Library):
    """Servers of one test's own."""
    servers = Servers(tmp_path)
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory, library: Library):
    """A client of one shared server with several models; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("models")
    library.put("plus_two", root / "half", "00000001")
    library.put("plus_three", root / "half", "2")
    (root / "half" / "notes").mkdir()
    library.put("many", root / "many", 7)
    library.put("tf1", root / "tf1", 1)
    library.put("broken", root / "broken", 1)
    library.put("warm", root / "warm", 1)
    library.put("cold", root / "cold", 1)
    library.put("plus_two", root / "a name", 1)
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "candidate" value: 2 }'
    config = model_config("half", root / "half", f"model_version_policy {{ all {{}} }} {labels}")
    for name in ("many", "tf1", "broken", "warm", "cold", "absent", "a name"):
        config += model_config(name, root / name)
    servers = Servers(root)
    yield servers.start(config, "--rest_api_enable_cors_support")
    servers.stop()


@pytest.fixture(scope="session")
def launch():
    """Starts a server of a SavedModel under the name `judge`, and returns a client of it."""
    started = []

    def start(folder: Path, saved_model: Path, version: int, extra: str, *flags: str, warm_up: Any = ()) -> Client:
        copy = shutil.copytree(saved_model, folder / "judge" / str(version))
        if warm_up:
            write_warm_up(copy, list(warm_up))
        started.append(Servers(folder))
        return started[-1].start(model_config("judge", folder / "judge", extra), *flags)

    yield start
    for servers in started:
        servers.close()
