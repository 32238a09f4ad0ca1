"""What Prometheus is told: TensorFlow Serving's names, where the monitoring config says."""

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.errors import ServingError
from serving.protos import model_management_pb2

X = {"x": np.float32([1, 2])}


def code_of(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    return caught.value.code().name


class TestMetrics:
    """Under TensorFlow Serving's names, where the monitoring config says."""

    @pytest.fixture
    def client(self, servers, library, tmp_path, configure):
        library.put("warm", tmp_path / "m", 1)
        library.put("broken", tmp_path / "broken", 1)
        config = tmp_path / "monitoring.config"
        config.write_text('prometheus_config { enable: true path: "/metrics" }')
        models = configure("m", tmp_path / "m") + configure("broken", tmp_path / "broken")
        return servers.start(models, f"--monitoring_config_file={config}")

    @staticmethod
    def samples(client, path="/metrics"):
        page = client.http.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/plain")
        assert "# TYPE :tensorflow:serving:request_count counter\n" in page.text
        assert "# TYPE :tensorflow:serving:request_latency histogram\n" in page.text
        # The parser gives every counter's name the ending `_total`.
        return {
            (
                sample.name.removeprefix(":tensorflow:").removesuffix("_total"),
                *sorted(sample.labels.items()),
            ): sample.value
            for family in text_string_to_metric_families(page.text)
            for sample in family.samples
        }

    def test_requests_are_counted_by_model_and_status_and_timed(self, client):
        assert not any(key[0] == "serving:request_count" for key in self.samples(client))
        for _ in range(3):
            client.predict("m", X)
        client.rest("m:predict", {"instances": [1]})
        client.rest("m:predict", {"instances": ["a"]})
        client.rest("m:predict", "{")
        assert code_of(client.predict, "m", {"z": np.float32([1])}) == "INVALID_ARGUMENT"
        found = self.samples(client)
        name = ("model_name", "m")
        assert found["serving:request_count", name, ("status", "OK")] == 4
        assert found["serving:request_count", name, ("status", "INVALID_ARGUMENT")] == 3
        by_grpc, by_rest = ("API", "Predict"), ("API", "predict")
        # The warm-up's run is one of the graph's, and none of the requests.
        assert found["serving:runtime_latency_count", by_grpc, name, ("runtime", "TF1")] == 5
        assert found["serving:request_latency_count", by_grpc, ("entrypoint", "GRPC"), name] == 3
        assert found["serving:request_latency_count", by_rest, ("entrypoint", "REST"), name] == 1
        buckets = [key for key in found if key[0] == "serving:request_latency_bucket" and by_grpc in key]
        limits = sorted(float(dict(key[1:])["le"]) for key in buckets)
        assert len(limits) == 34
        assert limits[:3] == [10, 18, 32.4]
        # Microseconds: a request takes less than a second, and more than ten.
        assert 30 < found["serving:request_latency_sum", by_grpc, ("entrypoint", "GRPC"), name] < 3e6

    def test_loads_and_warm_ups_are_counted(self, client, tmp_path):
        found = self.samples(client)
        attempts = "cc:saved_model:load_attempt_count"
        path = ("model_path", str(tmp_path / "m" / "1"))
        assert found[attempts, path, ("status", "success")] == 1
        assert found[attempts, ("model_path", str(tmp_path / "broken" / "1")), ("status", "fail")] == 1
        assert found["cc:saved_model:load_latency", path] > 0
        assert found["serving:model_warmup_latency_count", path, ("status", "OK")] == 1

    def test_names_that_are_no_models_make_no_series(self, client):
        for number in range(20):
            client.rest(f"made-up-{number}:predict", {"instances": [1]})
            assert code_of(client.predict, f"made-up-{number}", X) == "NOT_FOUND"
        counted = [key for key in self.samples(client) if key[0] == "serving:request_count"]
        assert counted == [("serving:request_count", ("model_name", ""), ("status", "NOT_FOUND"))]

    def test_examples_are_counted(self, client, tmp_path, configure, servers, library):
        library.put("judging", tmp_path / "j", 1)
        servers.write(configure("j", tmp_path / "j"))
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.add(
            name="j", base_path=str(tmp_path / "j"), model_platform="tensorflow"
        )
        client.models.HandleReloadConfigRequest(request)
        body = {"examples": [{"x": 1.0}] * 3}
        assert client.rest("j:regress", body) == (200, {"results": [2.5] * 3})
        found = self.samples(client)
        assert found["serving:request_example_count", ("model", "j")] == 3
        assert found["serving:request_example_counts_bucket", ("le", "4.0"), ("model", "j")] == 1

    def test_nowhere_else_and_not_unasked(self, client, servers, library, tmp_path, configure):
        assert client.http.get("/monitoring/prometheus/metrics").status_code == 404
        config = tmp_path / "default.config"
        config.write_text("prometheus_config { enable: true }")
        by_default = servers.start(configure("m", tmp_path / "m"), f"--monitoring_config_file={config}")
        self.samples(by_default, "/monitoring/prometheus/metrics")
        without = servers.start(configure("m", tmp_path / "m"))
        assert without.http.get("/monitoring/prometheus/metrics").status_code == 404
        config.write_text("prometheus { }")
        with pytest.raises(ServingError, match=r"Error parsing text-format tensorflow.serving.MonitoringConfig: 1:1"):
            servers.start(configure("m", tmp_path / "m"), f"--monitoring_config_file={config}")
