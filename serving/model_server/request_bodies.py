"""Bodies of REST requests, within the size that is taken, as they come and unpacked."""

import zlib

import grpc
from starlette.requests import ClientDisconnect, Request

from serving.model_server.errors import ServerError, invalid_argument

_LARGEST_UNPACKED = 100 * 2**20
"""Bytes of a gzip body: TensorFlow Serving has such a limit, too, or a small body could take all memory."""


class TooLargeError(ServerError):
    """A body over the limit: 413, which no gRPC code stands for."""

    def __init__(self, limit: int) -> None:
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, f"The request is larger than {limit} bytes")

    @property
    def http_status(self) -> int:
        """413 Content Too Large."""
        return 413


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; raises ServerError for one that is, or says it is, larger, and where the caller has gone."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLargeError(limit)
    pieces, size = [], 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise TooLargeError(limit)
            pieces.append(piece)
    except ClientDisconnect:
        raise ServerError(grpc.StatusCode.CANCELLED, "The caller has gone") from None
    return b"".join(pieces)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """A body unpacked from its Content-Encoding; raises ServerError for one that is cut short, or larger."""
    if encoding.lower() in ("", "identity"):
        return body
    if encoding.lower() != "gzip":
        raise invalid_argument(f"Content-Encoding {encoding} is not supported; send gzip, or none.")
    limit = min(limit, _LARGEST_UNPACKED)
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(body, limit)
    except zlib.error as error:
        raise invalid_argument(f"The request body is not gzip: {error}") from None
    if decompressor.unconsumed_tail or (not decompressor.eof and len(plain) == limit):
        raise TooLargeError(limit)
    if not decompressor.eof:
        raise invalid_argument("The request body's gzip stream is cut short.")
    return plain
