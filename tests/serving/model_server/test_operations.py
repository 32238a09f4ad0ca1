"""What an operator needs: health, limits, deadlines, and a word where something is wrong."""

import gzip
import threading
import time

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.errors import ServingError
from serving.protos import model_management_pb2

X = {"x": np.float32([1, 2])}


def code_of(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    return caught.value.code().name


def test_the_health_service(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"), "--enable_grpc_healthcheck_service")
    health = health_pb2_grpc.HealthStub(client.channel)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    assert code_of(health.Check, health_pb2.HealthCheckRequest(service="other")) == "NOT_FOUND"
    # More watchers than there are threads: they hold none.
    watchers = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(40)]
    assert [next(watcher).status for watcher in watchers] == [serving] * 40
    assert client.predict("m", X)["y"] == [2.5, 3.0]
    stopping = threading.Thread(target=servers.stop)
    stopping.start()
    assert [next(watcher).status for watcher in watchers] == [not_serving] * 40
    for watcher in watchers:
        watcher.cancel()
    stopping.join()


def test_health_does_not_wait_for_predictions(servers, library, tmp_path, configure):
    library.put("many", tmp_path / "m", 1)
    flags = ["--enable_grpc_healthcheck_service", "--grpc_max_threads=1"]
    client = servers.start(configure("m", tmp_path / "m"), *flags)
    busy = client.prediction.Predict.future(client.request("m", {"n": np.int64(10**12)}, signature="slow"), timeout=3)
    time.sleep(0.3)
    health = health_pb2_grpc.HealthStub(client.channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=2).status == health_pb2.HealthCheckResponse.SERVING
    assert not busy.done()
    assert busy.code().name == "DEADLINE_EXCEEDED"
    # The only thread is free again before the server is stopped.
    assert client.prediction.Predict(client.request("m", {"n": np.int64(3)}, signature="slow")).outputs[
        "i"
    ].int64_val == [3]


def test_no_health_service_unasked(client):
    health = health_pb2_grpc.HealthStub(client.channel)
    assert code_of(health.Check, health_pb2.HealthCheckRequest()) == "UNIMPLEMENTED"


def test_a_limit_on_requests(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"), "--max_request_bytes=2000")
    error = {"error": "The request is larger than 2000 bytes"}
    large = b'{"instances": [' + b"1," * 2000 + b"1]}"
    assert client.rest("m:predict", large) == (413, error)
    chunked = client.http.post("/v1/models/m:predict", content=iter([large]))  # which does not say its length
    assert (chunked.status_code, chunked.json()) == (413, error)
    packed = client.http.post(
        "/v1/models/m:predict", content=gzip.compress(large), headers={"content-encoding": "gzip"}
    )
    assert (packed.status_code, packed.json()) == (413, error)
    assert code_of(client.predict, "m", {"x": np.zeros(1000, np.float32)}) == "RESOURCE_EXHAUSTED"
    assert client.predict("m", X)["y"] == [2.5, 3.0]
    assert client.rest("m:predict", {"instances": [1]}) == (200, {"predictions": [2.5]})


def test_a_gzip_bomb(client):
    bomb = gzip.compress(bytes(200 * 2**20))
    response = client.http.post("/v1/models/half:predict", content=bomb, headers={"content-encoding": "gzip"})
    assert (response.status_code, response.json()) == (413, {"error": "The request is larger than 104857600 bytes"})


def test_messages_that_are_none(client):
    def send(method, message):
        call = client.channel.unary_unary(f"/tensorflow.serving.{method}", lambda data: data, lambda data: data)
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=10)
        return caught.value.code().name, caught.value.details()

    for service, method, name in (
        ("PredictionService", "Predict", "PredictRequest"),
        ("PredictionService", "Classify", "ClassificationRequest"),
        ("PredictionService", "Regress", "RegressionRequest"),
        ("PredictionService", "MultiInference", "MultiInferenceRequest"),
        ("PredictionService", "GetModelMetadata", "GetModelMetadataRequest"),
        ("ModelService", "GetModelStatus", "GetModelStatusRequest"),
        ("ModelService", "HandleReloadConfigRequest", "ReloadConfigRequest"),
    ):
        message = f"The message is not a tensorflow.serving.{name}"
        assert send(f"{service}/{method}", b"\x0a\xff\xff") == ("INVALID_ARGUMENT", message)


def test_cors(servers, library, tmp_path, configure, client):
    library.put("plus_two", tmp_path / "m", 1)
    open_to_pages = servers.start(configure("m", tmp_path / "m"), "--rest_api_enable_cors_support")
    allowed = {"origin": "*", "methods": "POST, GET", "headers": "Content-Type"}
    for method, path in (
        ("GET", "/v1/models/m"),
        ("POST", "/v1/models/nope:predict"),
        ("OPTIONS", "/v1/models/m:predict"),
    ):
        response = open_to_pages.http.request(method, path)
        found = {name: response.headers[f"access-control-allow-{name}"] for name in allowed}
        assert found == allowed
    assert response.status_code == 200
    closed = servers.start(configure("m", tmp_path / "m"))
    refused = closed.http.request("OPTIONS", "/v1/models/m:predict")
    assert refused.status_code == 403
    assert "--rest_api_enable_cors_support" in refused.json()["error"]
    assert "access-control-allow-origin" not in closed.http.get("/v1/models/m").headers


class TestImpatience:
    """One thread each, so that what runs keeps the next request waiting."""

    @pytest.fixture
    def client(self, servers, library, tmp_path, configure):
        library.put("many", tmp_path / "m", 1)
        config = tmp_path / "monitoring.config"
        config.write_text('prometheus_config { enable: true path: "/metrics" }')
        flags = ["--grpc_max_threads=1", "--rest_api_num_threads=1", f"--monitoring_config_file={config}"]
        return servers.start(configure("m", tmp_path / "m"), *flags)

    @staticmethod
    def slow(client, n):
        return client.request("m", {"n": np.int64(n)}, signature="slow")

    @staticmethod
    def runs(client, api):
        for line in client.http.get("/metrics").text.splitlines():
            if line.startswith(":tensorflow:serving:runtime_latency_count") and f'API="{api}"' in line:
                return float(line.split()[-1])
        return 0.0

    def test_a_deadline_ends_the_run(self, client):
        assert code_of(client.prediction.Predict, self.slow(client, 10**12), timeout=0.3) == "DEADLINE_EXCEEDED"
        # The thread is free again, which it would not be for an hour.
        assert client.prediction.Predict(self.slow(client, 3), timeout=10).outputs["i"].int64_val == [3]

    def test_nothing_is_done_for_who_has_left_while_waiting(self, client):
        first = client.prediction.Predict.future(self.slow(client, 2_000_000))
        time.sleep(0.2)
        left = [client.prediction.Predict.future(self.slow(client, 10**12)) for _ in range(3)]
        time.sleep(0.2)
        for future in left:
            future.cancel()
        first.result()
        assert client.prediction.Predict(self.slow(client, 3), timeout=20).outputs["i"].int64_val == [3]
        assert self.runs(client, "Predict") == 2

    def test_nor_over_rest(self, client):
        url = f"http://127.0.0.1:{client.ports[1]}/v1/models/m:predict"
        answers = []

        def ask(n, patience):
            try:
                body = {"signature_name": "slow", "inputs": n}
                answers.append(httpx.post(url, json=body, timeout=patience).json())
            except httpx.ReadTimeout:
                answers.append("left")

        threads = [
            threading.Thread(target=ask, args=arguments) for arguments in ((2_000_000, 60), (10**12, 0.3), (3, 60))
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.2)
        for thread in threads:
            thread.join()
        assert "left" in answers
        assert {"outputs": 2_000_000} in answers
        assert {"outputs": 3} in answers
        assert self.runs(client, "Predict") == 2


def test_a_session_config(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    config = tmp_path / "session.config"
    config.write_text(
        "intra_op_parallelism_threads: 1 graph_options { rewrite_options { disable_meta_optimizer: true } }"
    )
    client = servers.start(configure("m", tmp_path / "m"), f"--tensorflow_session_config_file={config}")
    assert client.predict("m", X)["y"] == [2.5, 3.0]
    config.write_text("threads: 1")
    with pytest.raises(ServingError, match=r"Error parsing text-format tensorflow.ConfigProto: 1:1"):
        servers.start(configure("m", tmp_path / "m"), f"--tensorflow_session_config_file={config}")


def test_a_reload_says_which_new_model_did_not_come_up(servers, library, tmp_path, configure):
    for model, graph in (("m", "plus_two"), ("n", "plus_three"), ("b", "broken")):
        library.put(graph, tmp_path / model, 1)
    client = servers.start(configure("m", tmp_path / "m"))
    request = model_management_pb2.ReloadConfigRequest()
    for model in "mnb":
        request.config.model_config_list.config.add(
            name=model, base_path=str(tmp_path / model), model_platform="tensorflow"
        )
    with pytest.raises(grpc.RpcError) as caught:
        client.models.HandleReloadConfigRequest(request)
    assert caught.value.code().name == "UNKNOWN"
    words = "1 model(s) did not become available: {{{name: b version: 1} due to error: "
    assert caught.value.details().startswith(words)
    # As in TensorFlow Serving, the config is in force all the same.
    assert client.predict("n", X)["y"] == [3.5, 4.0]
    assert client.states("b") == {1: "END"}
