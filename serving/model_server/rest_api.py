"""The REST API: an ASGI application over a model manager, and the HTTP server that runs it."""

import asyncio
import json
import logging
import re
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import uvicorn
from google.protobuf import json_format
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.json_requests import parse_body, parse_inputs, parse_signature_name
from serving.model_server.json_responses import format_outputs
from serving.model_server.manager import ModelManager
from serving.model_server.model_info import metadata_response, status_response
from serving.model_server.signatures import DEFAULT_SIGNATURE
from serving.protos import get_model_metadata_pb2

_LOG = logging.getLogger(__name__)

_TARGET = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST_PATH = re.compile(rf"/v1/models/(?P<name>[^/:]+){_TARGET}:(?P<verb>classify|regress|predict)", re.IGNORECASE)
_GET_PATH = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_TARGET}(?P<metadata>/metadata)?", re.IGNORECASE)
_LARGEST_BODY = 2**31 - 1
_LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class _Model:
    """What a path asks for."""

    name: str
    version: int | None
    label: str | None


class RestApi:
    """TensorFlow Serving's REST API as an ASGI application. Requests are answered in a pool of threads."""

    def __init__(self, manager: ModelManager, *, threads: int, timeout_ms: int) -> None:
        """`timeout_ms` is what a prediction may take before it is given up with 504; 0 is no limit."""
        self._manager = manager
        self._timeout_ms = timeout_ms
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rest")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        # As it came: percent-decoding must not turn %2F or %3A in a name into a separator.
        path = scope["raw_path"].decode("ascii", "replace")
        encoding = request.headers.get("content-encoding", "")
        answering = asyncio.get_running_loop().run_in_executor(
            self._pool, self._answer, request.method, path, encoding, body
        )
        try:
            status, content = await answering
        except asyncio.CancelledError:
            # uvicorn cancels what is not answered when the time to drain is over; the client still gets a word.
            status, content = _refusal(ServerError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down"))
        await Response(content, status, media_type="application/json")(scope, receive, send)

    def close(self) -> None:
        """Ends the pool; threads that are still busy end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, method: str, path: str, encoding: str, body: bytes) -> tuple[int, bytes]:
        try:
            if not path.lower().startswith("/v1/"):
                raise ServerError(grpc.StatusCode.NOT_FOUND, f"Not found: {path}")
            return 200, self._handle(method, path, encoding, body)
        except ServerError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must still be answered
            _LOG.exception("%s %s failed", method, path)
            return _refusal(ServerError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"))

    def _handle(self, method: str, path: str, encoding: str, body: bytes) -> bytes:
        pattern = {"POST": _POST_PATH, "GET": _GET_PATH}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if match is None:
            raise invalid_argument(f"Malformed request: {method} {path}")
        if not match["name"]:
            raise invalid_argument("Missing model name in request.")
        model = _Model(unquote(match["name"]), _version(match["version"]), match["label"] and unquote(match["label"]))
        if method == "GET":
            return self._metadata(model) if match["metadata"] else self._status(model)
        if match["verb"].lower() != "predict":
            raise ServerError(grpc.StatusCode.UNIMPLEMENTED, f"{match['verb'].lower()} is not implemented yet")
        return self._predict(model, _decompress(body, encoding))

    def _predict(self, model: _Model, body: bytes) -> bytes:
        document = parse_body(body)
        signature_name = parse_signature_name(document) or DEFAULT_SIGNATURE
        with self._manager.lease(model.name, model.version, model.label) as (_, servable):
            if signature_name not in servable.signatures:
                raise invalid_argument(f'Serving signature name: "{signature_name}" not found in signature def')
            inputs, rows = parse_inputs(document, servable.signatures[signature_name])
            outputs = servable.predict(signature_name, inputs, timeout_ms=self._timeout_ms)
        return format_outputs(outputs, rows=rows)

    def _status(self, model: _Model) -> bytes:
        return _to_json(status_response(self._manager, model.name, model.version, model.label))

    def _metadata(self, model: _Model) -> bytes:
        response = metadata_response(self._manager, model.name, model.version, model.label)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        # Written in two parts, because JSON of an Any would carry a type URL that TensorFlow Serving does not write.
        return (
            b'{"model_spec": ' + _to_json(response.model_spec)
            + b', "metadata": {"signature_def": ' + _to_json(signatures) + b"}}"
        )  # fmt: skip


def _refusal(error: ServerError) -> tuple[int, bytes]:
    return error.http_status, json.dumps({"error": error.wire_message}).encode()


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_LARGEST_VERSION)) or int(digits) > _LARGEST_VERSION:
        raise invalid_argument(f"Failed to convert version: {text} to numeric.")
    return int(digits)


def _decompress(body: bytes, encoding: str) -> bytes:
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() != "gzip":
        raise invalid_argument(f"Content-Encoding {encoding} is not supported; send gzip, or none.")
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(body, _LARGEST_BODY)
    except zlib.error as error:
        raise invalid_argument(f"The request body is not gzip: {error}") from None
    if not decompressor.eof:
        raise invalid_argument("The request body's gzip stream is cut short, or larger than 2 GiB unpacked.")
    return plain


def _to_json(message: Any) -> bytes:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )
    return text.encode()


class RestServer:
    """Runs the application with uvicorn in a thread of its own, on a socket that is bound already."""

    def __init__(self, api: RestApi, bound: socket.socket, *, cors: bool, drain_seconds: float) -> None:
        app: ASGIApp = api
        if cors:
            app = CORSMiddleware(
                api, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["Content-Type"]
            )
        self._api = api
        self._socket = bound
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            # Longer than clients keep idle connections, so that none sends into a closing one.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([bound],), name="rest-server", daemon=True)

    def start(self) -> None:
        """Starts to accept requests and returns once it does; OSError if another process was faster at the port."""
        self._socket.listen(2048)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        """Stops accepting requests; those in flight go on. Returns at once, `join` waits."""
        self._server.should_exit = True

    def join(self, timeout: float) -> bool:
        """Waits for requests in flight; False if some are still unanswered after `timeout` seconds."""
        if self._thread.ident is None:
            self._socket.close()
        else:
            self._thread.join(timeout)
        finished = not self._thread.is_alive()
        self._api.close()
        return finished
