"""The one error of the server, and how gRPC's status codes appear over HTTP."""

import logging

import grpc

from serving.errors import ServingError

_LOG = logging.getLogger(__name__)
_MESSAGE_LIMIT = 1024
_STATUS_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class ServerError(ServingError):
    """A request, a config or a model that the server refuses, with the gRPC status code that says why."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The HTTP status that stands for `code`; 500 where there is no better one."""
        return _HTTP_STATUS.get(self.code, 500)

    @property
    def wire_message(self) -> str:
        """The message as a client gets it: at most 1,024 characters, then `...TRUNCATED`."""
        if len(self.message) <= _MESSAGE_LIMIT:
            return self.message
        return self.message[:_MESSAGE_LIMIT] + "...TRUNCATED"


def status_code(number: int) -> grpc.StatusCode:
    """The gRPC status code with this number; UNKNOWN for a number that gRPC does not have."""
    return _STATUS_CODES.get(number, grpc.StatusCode.UNKNOWN)


def invalid_argument(message: str) -> ServerError:
    """The commonest error: the caller sent something that can never work."""
    return ServerError(grpc.StatusCode.INVALID_ARGUMENT, message)


def internal_error(fault: Exception, doing: str) -> ServerError:
    """A fault of the server's own: logged with its traceback, and what a client is told of it."""
    _LOG.error("%s failed", doing, exc_info=fault)
    return ServerError(grpc.StatusCode.INTERNAL, f"{type(fault).__name__}: {fault}")
