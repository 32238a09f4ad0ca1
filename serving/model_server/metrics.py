"""What Prometheus may ask, under TensorFlow Serving's names.

Names, labels and buckets are those that TensorFlow Serving's exporter makes of its own counters; latencies are in
microseconds. The process's memory, CPU time and open files come besides, as prometheus_client names them.
"""

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

DEFAULT_PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SERVING = ":tensorflow:serving:"
_LOADING = ":tensorflow:cc:saved_model:"
# From ten microseconds to about twenty minutes, each bucket 1.8 times as wide as the one before.
_LATENCIES = [float(f"{10 * 1.8**power:g}") for power in range(33)]
_COUNTS = [2.0**power for power in range(15)]
# prometheus_client's counters end in `_total`, which these of TensorFlow Serving's do not.
_BARE_COUNTERS = (f"{_SERVING}request_count", f"{_LOADING}load_attempt_count", f"{_LOADING}load_latency")

prometheus_client.disable_created_metrics()


class Metrics:
    """One server's counters."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        requests, attempts, latency = _BARE_COUNTERS
        self._requests = self._counter(requests, "The total number of requests.", "model_name", "status")
        self._request_latency = self._histogram(
            f"{_SERVING}request_latency",
            "Microseconds of a whole request.",
            _LATENCIES,
            "model_name",
            "API",
            "entrypoint",
        )
        self._runtime_latency = self._histogram(
            f"{_SERVING}runtime_latency", "Microseconds in the graph.", _LATENCIES, "model_name", "API", "runtime"
        )
        self._example_counts = self._histogram(
            f"{_SERVING}request_example_counts", "The number of tf.Examples of a request.", _COUNTS, "model"
        )
        self._example_total = self._counter(
            f"{_SERVING}request_example_count_total", "The total number of tf.Examples.", "model"
        )
        self._warm_up_latency = self._histogram(
            f"{_SERVING}model_warmup_latency", "Microseconds of a warm-up.", _LATENCIES, "model_path", "status"
        )
        self._load_attempts = self._counter(attempts, "The number of times a load was tried.", "model_path", "status")
        self._load_latency = self._counter(latency, "Microseconds of loading.", "model_path")
        ProcessCollector(registry=self._registry)

    def count_request(self, model: str, status: str, api: str, entrypoint: str, seconds: float) -> None:
        """A request that was answered: TensorFlow's name of its status, and how long it took if that is OK."""
        self._requests.labels(model, status).inc()
        if status == "OK":
            self._request_latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def count_run(self, model: str, api: str, seconds: float) -> None:
        """The time that the graph itself took for a request."""
        self._runtime_latency.labels(model, api, "TF1").observe(seconds * 1e6)

    def count_examples(self, model: str, count: int) -> None:
        """The tf.Examples of one request."""
        self._example_counts.labels(model).observe(count)
        self._example_total.labels(model).inc(count)

    def count_load(self, path: str, succeeded: bool, seconds: float) -> None:
        """An attempt to load a version."""
        self._load_attempts.labels(path, "success" if succeeded else "fail").inc()
        self._load_latency.labels(path).inc(seconds * 1e6)

    def count_warm_up(self, path: str, status: str, seconds: float) -> None:
        """A warm-up, and how it ended."""
        self._warm_up_latency.labels(path, status).observe(seconds * 1e6)

    def page(self) -> bytes:
        """Prometheus's text format."""
        page = prometheus_client.generate_latest(self._registry)
        for name in _BARE_COUNTERS:
            page = page.replace(f"{name}_total".encode(), name.encode())
        return page

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, buckets: list[float], *labels: str) -> Histogram:
        return Histogram(name, description, labels, buckets=buckets, registry=self._registry)
