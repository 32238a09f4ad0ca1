"""The gRPC server: its options and ports, TLS, and the health service."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from serving.errors import ServingError
from serving.model_server.errors import invalid_argument
from serving.model_server.flags import LARGEST_REQUEST, Flags
from serving.model_server.grpc_api import MODEL_SERVICE, PREDICTION_SERVICE, GrpcApi
from serving.model_server.sockets import address_of, bind
from serving.model_server.tls import server_credentials


class GrpcServer:
    """Answers in a pool of threads, on a port, a Unix socket, or both."""

    def __init__(self, api: GrpcApi, flags: Flags) -> None:
        """Listens to nothing yet; raises ServingError for a port that is taken, and for wrong TLS files."""
        self._pool = ThreadPoolExecutor(flags.grpc_max_threads, thread_name_prefix="grpc")
        self._server = grpc.server(
            self._pool,
            options=[
                # Without this a second server would share the port, and each would get some of the requests.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", flags.max_request_bytes),
                ("grpc.max_send_message_length", LARGEST_REQUEST),
                *_channel_arguments(flags.grpc_channel_arguments),
            ],
        )
        for service, handlers in api.handlers().items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self._health: health.HealthServicer | None = None
        if flags.enable_grpc_healthcheck_service:
            self._health = health.HealthServicer()
            self._server.add_generic_rpc_handlers((_health_handlers(self._health),))
        self._stopped = threading.Event()
        self._credentials = server_credentials(flags.ssl_config_file)
        self.addresses: list[str] = []
        # A port of gRPC's listens as soon as it is added, which is too soon here: nothing is loaded yet.
        if flags.port:
            bind(flags.host, flags.port, "port").close()  # gRPC says a taken port in C++ only; ask the socket
            self.addresses.append(address_of(flags.host, flags.port))
        if flags.grpc_socket_path:
            self.addresses.append(f"unix:{flags.grpc_socket_path}")

    def start(self) -> None:
        """Starts to accept requests; raises ServingError where it cannot listen."""
        for address in self.addresses:
            self._listen(address)
        self._server.start()
        self._tell_health(health_pb2.HealthCheckResponse.SERVING)

    def stop(self, seconds: float) -> None:
        """Stops accepting requests, and gives those in flight so many seconds. Returns at once, `join` waits."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        self._stopped = self._server.stop(seconds)

    def join(self, timeout: float) -> bool:
        """Waits for requests in flight; False if some are still unanswered after `timeout` seconds."""
        finished = self._stopped.wait(timeout)
        self._pool.shutdown(wait=False)
        return finished

    def _tell_health(self, status: int) -> None:
        if self._health is not None:
            for service in ("", PREDICTION_SERVICE, MODEL_SERVICE):
                self._health.set(service, status)

    def _listen(self, address: str) -> None:
        try:
            if self._credentials is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, self._credentials)
        except RuntimeError:
            doubt = (
                "is it taken, or not writable" if self._credentials is None else "do key and certificate go together"
            )
            raise ServingError(f"gRPC cannot listen at {address}; {doubt}?") from None


def _health_handlers(servicer: health.HealthServicer) -> Any:
    """The health service, which does not wait for the predictions' threads: a busy server is a sound one."""

    def check(request: Any, context: grpc.ServicerContext) -> Any:
        return servicer.Check(request, context)

    check.experimental_thread_pool = ThreadPoolExecutor(1, thread_name_prefix="health")  # type: ignore[attr-defined]
    request, response = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
    handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(check, request, response),
        # A watcher holds no thread.
        "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, request, response),
    }
    return grpc.method_handlers_generic_handler(health.SERVICE_NAME, handlers)


def _channel_arguments(text: str) -> list[tuple[str, str | int]]:
    """Comma-separated `key=value` pairs, which win over ours."""
    arguments: list[tuple[str, str | int]] = []
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise invalid_argument(f"--grpc_channel_arguments has {pair!r}; expected key=value pairs.")
        arguments.append((key, int(value) if value.removeprefix("-").isdecimal() else value))
    return arguments
