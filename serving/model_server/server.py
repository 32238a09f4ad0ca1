"""The server as a whole: binds ports, loads models, serves, and drains when it is told to stop."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from serving.config_protos import MonitoringConfig
from serving.errors import ServingError
from serving.model_server.batching_config import read_batching
from serving.model_server.config import read_config
from serving.model_server.errors import ServerError, internal_error
from serving.model_server.flags import Flags
from serving.model_server.grpc_api import GrpcApi
from serving.model_server.grpc_server import GrpcServer
from serving.model_server.manager import ModelManager
from serving.model_server.metrics import DEFAULT_PATH, Metrics
from serving.model_server.rest_api import RestApi, RestOptions
from serving.model_server.rest_server import RestServer
from serving.model_server.signatures import Servable
from serving.model_server.sockets import address_of, bind, port_error
from serving.model_server.text_files import read_message
from serving.model_server.versions import LoadOptions
from serving.model_server.watcher import Watcher
from serving.protos import config_pb2
from serving.quiet import import_tensorflow, make_tensorflow_lean

_LOG = logging.getLogger(__name__)


class ModelServer:
    """One server process's worth of models and transports; also of use inside another process, as in tests."""

    def __init__(self, flags: Flags) -> None:
        """Reads the configs and binds the ports; raises ServingError for a wrong config or a port that is taken."""
        self._flags = flags
        self._config, text = read_config(flags)
        self._batching = read_batching(flags)
        self._session_config = None
        if flags.tensorflow_session_config_file:
            file = flags.tensorflow_session_config_file
            self._session_config = read_message("tensorflow_session_config_file", file, config_pb2.ConfigProto())
        options = LoadOptions(
            max_retries=max(0, flags.max_num_load_retries),
            retry_seconds=max(0, flags.load_retry_interval_micros) / 1e6,
            parallel=flags.num_load_threads,
            allow_labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        )
        self.loaded = threading.Event()
        """Set when the models are loaded, before the first request is taken."""
        self._metrics = Metrics()
        self._manager = ModelManager(self._load, options)
        self._watcher = Watcher(self._manager, flags, text)
        self._rest = self._make_rest() if flags.rest_api_port else None
        self._grpc: GrpcServer | None = None
        if flags.port or flags.grpc_socket_path:
            as_content = flags.enable_serialization_as_tensor_content
            self._grpc = GrpcServer(GrpcApi(self._manager, self._metrics, as_content=as_content), flags)

    def start(self) -> None:
        """Loads the models, then serves; raises ServingError if a label's version cannot be served.

        Versions that fail to load do not keep the server from starting; their status says why.
        """
        # TensorFlow takes seconds to import; mistakes in flags and config were reported before that.
        import_tensorflow()
        try:
            self._manager.apply(self._config)
            self._serve()
        except ServingError:
            self.stop()
            raise

    def stop(self) -> bool:
        """Stops accepting requests, finishes those in flight within `drain_seconds`, and unloads the models.

        False if some request was still running then; its threads go on.
        """
        deadline = time.monotonic() + self._flags.drain_seconds
        transports = [transport for transport in (self._grpc, self._rest) if transport is not None]
        if self._grpc is not None:
            self._grpc.stop(self._flags.drain_seconds)
        if self._rest is not None:
            self._rest.stop()

        def patience() -> float:
            # Longer than the transports themselves take, on a busy machine too, to give up what is still in flight.
            return max(0.0, deadline - time.monotonic()) + 3.0

        drained = True
        for transport in transports:
            drained &= transport.join(patience())
        if not self._watcher.stop(patience()):
            return False
        closed = self._manager.close(patience())
        return drained and closed and not self._manager.busy

    def _serve(self) -> None:
        self.loaded.set()
        if self._grpc is not None:
            self._grpc.start()
            for address in self._grpc.addresses:
                _LOG.info("Running gRPC ModelServer at %s ...", address)
        if self._rest is not None:
            address = address_of(self._flags.host, self._flags.rest_api_port)
            try:
                self._rest.start()
            except OSError as error:
                raise port_error(address, error, "rest_api_port") from None
            _LOG.info("Exporting HTTP/REST API at:%s ...", address)
        _LOG.info("Entering the event loop ...")
        self._watcher.start()

    def _load(self, name: str, path: Path, base_path: Path) -> Servable:
        from serving.model_server.loading import LoadSettings, load_servable

        settings = LoadSettings(self._flags, self._session_config, self._batching)
        try:
            return load_servable(name, path, base_path, settings, self._metrics)
        except ServerError:
            raise
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not keep other versions from serving
            raise internal_error(fault, f"Loading {path}") from None

    def _make_rest(self) -> RestServer:
        flags = self._flags
        monitoring = MonitoringConfig()
        if flags.monitoring_config_file:
            read_message("monitoring_config_file", flags.monitoring_config_file, monitoring)
        prometheus = monitoring.prometheus_config
        options = RestOptions(
            threads=flags.rest_api_num_threads,
            timeout_ms=max(0, flags.rest_api_timeout_in_ms),
            max_request_bytes=flags.max_request_bytes,
            cors=flags.rest_api_enable_cors_support,
            metrics_path=(prometheus.path or DEFAULT_PATH) if prometheus.enable else "",
        )
        api = RestApi(self._manager, self._metrics, options)
        bound = bind(flags.host, flags.rest_api_port, "rest_api_port")
        return RestServer(api, bound, drain_seconds=flags.drain_seconds)


def run(flags: Flags, ignored: list[str], stop_signals: set[signal.Signals]) -> int:
    """Serves, in a process of its own, until one of the stop signals, which the caller has blocked.

    Returns the exit status. Raises ServingError if it cannot start.
    """
    make_tensorflow_lean()
    for flag in ignored:
        _LOG.warning("%s has no effect in this server", flag)
    server = ModelServer(flags)
    stopping = threading.Event()

    def wait_for_signals() -> None:
        name = signal.Signals(signal.sigwait(stop_signals)).name
        if not server.loaded.is_set():
            _leave(f"{name}: stopped while loading", 0)
        _LOG.info("%s: finishing requests in flight, for %g s at most", name, flags.drain_seconds)
        stopping.set()
        _leave(f"{signal.Signals(signal.sigwait(stop_signals)).name} again: stopped at once", 1)

    threading.Thread(target=wait_for_signals, name="signals", daemon=True).start()
    server.start()
    stopping.wait()
    if not server.stop():
        _leave("Requests still in flight are given up", 0)
    _LOG.info("Stopped")
    return 0


def _leave(message: str, status: int) -> None:
    """Ends the process now: threads that are busy in TensorFlow would keep an orderly exit waiting."""
    _LOG.warning(message)
    sys.stderr.flush()
    os._exit(status)
