"""The server as a whole: binds ports, loads models, serves, and drains when it is told to stop."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from serving.errors import ServingError
from serving.model_server.config import read_config
from serving.model_server.flags import Flags
from serving.model_server.grpc_api import make_server
from serving.model_server.manager import LoadOptions, ModelManager
from serving.model_server.rest_api import RestApi, RestServer
from serving.model_server.signatures import Servable
from serving.model_server.watcher import Watcher
from serving.quiet import import_tensorflow

_LOG = logging.getLogger(__name__)


class ModelServer:
    """One server process's worth of models and transports; also of use inside another process, as in tests."""

    def __init__(self, flags: Flags) -> None:
        """Reads the config and binds the ports; raises ServingError for a wrong config or a port that is taken."""
        self._flags = flags
        self._config, text = read_config(flags)
        options = LoadOptions(
            max_retries=max(0, flags.max_num_load_retries),
            retry_seconds=max(0, flags.load_retry_interval_micros) / 1e6,
            parallel=flags.num_load_threads,
            allow_labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        )
        self._manager = ModelManager(self._load, options)
        self._watcher = Watcher(self._manager, flags, text)
        self._grpc_pool = ThreadPoolExecutor(flags.grpc_max_threads, thread_name_prefix="grpc")
        self._rest = self._bind_rest() if flags.rest_api_port else None
        self._grpc = self._bind_grpc() if flags.port or flags.grpc_socket_path else None

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
        done = self._grpc.stop(self._flags.drain_seconds) if self._grpc is not None else None
        if self._rest is not None:
            self._rest.stop()
        # A little longer than the transports themselves take to give up what is still in flight.
        patience = 1.0
        drained = done is None or done.wait(max(0.0, deadline - time.monotonic()) + patience)
        self._grpc_pool.shutdown(wait=False)
        if self._rest is not None:
            drained &= self._rest.join(max(0.0, deadline - time.monotonic()) + patience)
        if not self._watcher.stop(max(0.0, deadline - time.monotonic()) + patience):
            return False
        self._manager.close()
        return drained and not self._manager.busy

    def _serve(self) -> None:
        if self._grpc is not None:
            self._grpc.start()
            for address in self._grpc_addresses():
                _LOG.info("Running gRPC ModelServer at %s ...", address)
        if self._rest is not None:
            address = _address(self._flags.host, self._flags.rest_api_port)
            try:
                self._rest.start()
            except OSError as error:
                raise _port_error(address, error, "rest_api_port") from None
            _LOG.info("Exporting HTTP/REST API at:%s ...", address)
        self._watcher.start()

    def _load(self, name: str, path: Path) -> Servable:
        from serving.model_server.loading import load_servable

        return load_servable(path, self._flags)

    def _bind_rest(self) -> RestServer:
        flags = self._flags
        api = RestApi(
            self._manager, threads=flags.rest_api_num_threads, timeout_ms=max(0, flags.rest_api_timeout_in_ms)
        )
        bound = _bind(flags.host, flags.rest_api_port, "rest_api_port")
        return RestServer(api, bound, cors=flags.rest_api_enable_cors_support, drain_seconds=flags.drain_seconds)

    def _bind_grpc(self) -> grpc.Server:
        flags = self._flags
        server = make_server(
            self._manager,
            self._grpc_pool,
            as_content=flags.enable_serialization_as_tensor_content,
            channel_arguments=flags.grpc_channel_arguments,
        )
        if flags.port:
            # gRPC says a taken port in C++ only; ask the socket first.
            _bind(flags.host, flags.port, "port").close()
        for address in self._grpc_addresses():
            try:
                server.add_insecure_port(address)
            except RuntimeError:
                raise ServingError(f"gRPC cannot listen at {address}; is it taken, or not writable?") from None
        return server

    def _grpc_addresses(self) -> list[str]:
        addresses = [_address(self._flags.host, self._flags.port)] if self._flags.port else []
        return addresses + ([f"unix:{self._flags.grpc_socket_path}"] if self._flags.grpc_socket_path else [])


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(host: str, port: int, flag: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _port_error(_address(host, port), error, flag) from None
    return bound


def _port_error(address: str, error: OSError, flag: str) -> ServingError:
    return ServingError(f"Cannot listen on {address} ({error.strerror}); free the port or give another --{flag}.")


def run(flags: Flags, ignored: list[str], stop_signals: set[signal.Signals]) -> int:
    """Serves until one of the stop signals, which the caller has blocked; returns the exit status.

    Raises ServingError if it cannot start.
    """
    for flag in ignored:
        _LOG.warning("%s has no effect in this server", flag)
    server = ModelServer(flags)
    serving, stopping = threading.Event(), threading.Event()

    def wait_for_signals() -> None:
        name = signal.Signals(signal.sigwait(stop_signals)).name
        if not serving.is_set():
            _leave(f"{name}: stopped while loading", 0)
        _LOG.info("%s: finishing requests in flight, for %g s at most", name, flags.drain_seconds)
        stopping.set()
        _leave(f"{signal.Signals(signal.sigwait(stop_signals)).name} again: stopped at once", 1)

    threading.Thread(target=wait_for_signals, name="signals", daemon=True).start()
    server.start()
    serving.set()
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
