"""TensorFlow Serving's REST API as an ASGI application over a model manager."""

import asyncio
import json
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.model_server.errors import ServerError, internal_error, invalid_argument
from serving.model_server.examples import classify, regress
from serving.model_server.json_documents import parse_body, parse_signature_name
from serving.model_server.json_examples import parse_examples
from serving.model_server.json_requests import parse_inputs
from serving.model_server.json_responses import format_classifications, format_outputs, format_regressions
from serving.model_server.manager import ModelManager
from serving.model_server.metrics import CONTENT_TYPE, Metrics
from serving.model_server.model_info import Target, metadata_response, status_response
from serving.model_server.request_bodies import decompress, read_body
from serving.model_server.signatures import DEFAULT_SIGNATURE
from serving.protos import get_model_metadata_pb2

_TARGET = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST_PATH = re.compile(rf"/v1/models/(?P<name>[^/:]+){_TARGET}:(?P<verb>classify|regress|predict)", re.IGNORECASE)
_GET_PATH = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_TARGET}(?P<metadata>/metadata)?", re.IGNORECASE)
_LARGEST_VERSION = 2**63 - 1
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@dataclass(frozen=True)
class RestOptions:
    """`timeout_ms` is what a graph may take before it is given up with 504; 0 is no limit. `metrics_path` is where
    Prometheus asks, if anywhere."""

    threads: int
    timeout_ms: int
    max_request_bytes: int
    cors: bool = False
    metrics_path: str = ""


@dataclass(frozen=True)
class _Call:
    """What a request asks for: `action` is classify, regress, predict, metadata or status."""

    action: str
    target: Target


class RestApi:
    """The application. Requests are answered in a pool of threads."""

    def __init__(self, manager: ModelManager, metrics: Metrics, options: RestOptions) -> None:
        self._manager = manager
        self._metrics = metrics
        self._options = options
        self._headers = _CORS_HEADERS if options.cors else {}
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="rest")
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        request = Request(scope, receive)
        # As it came: percent-decoding must not turn %2F or %3A in a name into a separator.
        path = scope["raw_path"].decode("ascii", "replace")
        media_type = "application/json"
        try:
            if self._options.metrics_path and path == self._options.metrics_path:
                status, content, media_type = 200, self._metrics.page(), CONTENT_TYPE
            elif request.method == "OPTIONS":
                status, content = self._preflight()
            else:
                body = await read_body(request, self._options.max_request_bytes)
                encoding = request.headers.get("content-encoding", "")
                answer = await self._in_pool(request, path, encoding, body)
                if answer is None:
                    return  # nobody waits for it any more
                status, content = answer
        except ServerError as error:
            status, content = _refusal(error)
        except asyncio.CancelledError:
            # uvicorn cancels what is not answered when the time to drain is over; the client still gets a word.
            status, content = _refusal(ServerError(grpc.StatusCode.UNAVAILABLE, "The server is shutting down"))
        response = Response(content, status, headers=self._headers, media_type=media_type)
        await response(scope, receive, send)

    def close(self) -> None:
        """Ends the pool; threads that are still busy end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_pool(self, request: Request, path: str, encoding: str, body: bytes) -> tuple[int, bytes] | None:
        """The status and the answer; None if the caller left while the request waited for a thread."""
        waits = self._answering >= self._options.threads
        self._answering += 1
        try:
            working = self._pool.submit(self._answer, request.method, path, encoding, body)
            answering = asyncio.wrap_future(working)
            if waits and await _left_before(request, answering, working):
                return None
            return await answering
        finally:
            self._answering -= 1

    def _preflight(self) -> tuple[int, bytes]:
        if not self._options.cors:
            message = "CORS support is disabled; --rest_api_enable_cors_support enables it"
            raise ServerError(grpc.StatusCode.PERMISSION_DENIED, message)
        return 200, b""

    def _answer(self, method: str, path: str, encoding: str, body: bytes) -> tuple[int, bytes]:
        started = time.perf_counter()
        call = None
        code = grpc.StatusCode.OK
        try:
            call = _parse_path(method, path)
            status, content = 200, self._handle(call, decompress(body, encoding, self._options.max_request_bytes))
        except ServerError as error:
            code = error.code
            status, content = _refusal(error)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must still be answered
            own_error = internal_error(fault, f"{method} {path}")
            code = own_error.code
            status, content = _refusal(own_error)
        if call is not None:
            name = self._manager.known(call.target.name)
            self._metrics.count_request(name, code.name, call.action, "REST", time.perf_counter() - started)
        return status, content

    def _handle(self, call: _Call, body: bytes) -> bytes:
        if call.action == "status":
            return _to_json(status_response(self._manager, call.target))
        if call.action == "metadata":
            return self._metadata(call.target)
        document = parse_body(body)
        name = parse_signature_name(document)
        if call.action == "predict":
            return self._predict(call.target, name, document)
        examples = parse_examples(document)
        with self._manager.lease(*call.target) as (_, servable):
            if call.action == "classify":
                return format_classifications(classify(servable, name, examples, self._options.timeout_ms))
            return format_regressions(regress(servable, name, examples, self._options.timeout_ms))

    def _predict(self, target: Target, name: str, document: dict[str, Any]) -> bytes:
        with self._manager.lease(*target) as (_, servable):
            key = name or DEFAULT_SIGNATURE
            if key not in servable.signatures:
                raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
            inputs, rows = parse_inputs(document, name, servable.signatures[key])
            outputs = servable.predict(key, inputs, timeout_ms=self._options.timeout_ms)
        return format_outputs(outputs, rows=rows)

    def _metadata(self, target: Target) -> bytes:
        response = metadata_response(self._manager, target)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        # Written in two parts, because JSON of an Any would carry a type URL that TensorFlow Serving does not write.
        return (
            b'{"model_spec": ' + _to_json(response.model_spec)
            + b', "metadata": {"signature_def": ' + _to_json(signatures) + b"}}"
        )  # fmt: skip


async def _left_before(request: Request, answering: "asyncio.Future[Any]", working: "Future[Any]") -> bool:
    """Waits until a queued request is answered or its caller has gone; in that case it is taken out of the queue."""
    listening = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
        return not answering.done() and working.cancel()
    finally:
        listening.cancel()


def _parse_path(method: str, path: str) -> _Call:
    if not path.lower().startswith("/v1/"):
        raise ServerError(grpc.StatusCode.NOT_FOUND, f"Not found: {path}")
    pattern = {"POST": _POST_PATH, "GET": _GET_PATH}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid_argument(f"Malformed request: {method} {path}")
    if not match["name"]:
        raise invalid_argument("Missing model name in request.")
    target = Target(unquote(match["name"]), _version(match["version"]), match["label"] and unquote(match["label"]))
    if method == "POST":
        return _Call(match["verb"].lower(), target)
    return _Call("metadata" if match["metadata"] else "status", target)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(_LARGEST_VERSION)) or int(digits) > _LARGEST_VERSION:
        raise invalid_argument(f"Failed to convert version: {text} to numeric.")
    return int(digits)


def _refusal(error: ServerError) -> tuple[int, bytes]:
    return error.http_status, json.dumps({"error": error.wire_message}).encode()


def _to_json(message: Any) -> bytes:
    text = json_format.MessageToJson(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1
    )
    return text.encode()
