"""Asking a model server, ours or TensorFlow Serving, over gRPC or REST behind one interface.

    with connect("localhost:8500") as client:                # gRPC; "http://localhost:8501" speaks REST
        answer = client.predict("digits_cnn", {"image": images})

Arrays in, arrays out. TensorFlow is not imported. Without a version or a label the version labelled `stable` answers,
for a request without either reaches whatever is newest.
"""

from serving.client.grpc_client import GrpcClient
from serving.client.interface import Answer, Client, Signature, TensorInfo, VersionStatus
from serving.client.rest_client import RestClient
from serving.client.waiting import wait_until_available

__all__ = [
    "Answer",
    "Client",
    "GrpcClient",
    "RestClient",
    "Signature",
    "TensorInfo",
    "VersionStatus",
    "connect",
    "wait_until_available",
]


def connect(address: str, timeout: float = 30.0) -> Client:
    """A client of the server at `address`: HOST:PORT of its gRPC port, or the http(s) URL of its REST port.

    `timeout`, in seconds, holds for each gRPC call, and over REST for each wait for the server. No connection is made
    yet.
    """
    if address.startswith(("http://", "https://")):
        return RestClient(address, timeout)
    return GrpcClient(address, timeout)
