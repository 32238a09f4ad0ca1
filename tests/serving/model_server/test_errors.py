"""gRPC's status codes as HTTP shows them."""

import grpc
import pytest

from serving.model_server.errors import ServerError

AS_HTTP = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
    "UNKNOWN": 500, "INTERNAL": 500, "DATA_LOSS": 500,
}  # fmt: skip


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_the_status_that_tensorflow_serving_gives_it(code):
    assert ServerError(code, "").http_status == AS_HTTP[code.name]
