"""The answers that both transports give: model status and metadata, as TensorFlow Serving's messages."""

from typing import Any, NamedTuple

from serving.model_server.manager import ModelManager
from serving.protos import get_model_metadata_pb2, get_model_status_pb2


class Target(NamedTuple):
    """What a request asks for: a model, and perhaps a version or a label of it."""

    name: str
    version: int | None = None
    label: str | None = None


def status_response(manager: ModelManager, target: Target) -> Any:
    """GetModelStatusResponse: every version, newest first, or the one that is asked for."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state, error in manager.states(*target):
        status = response.model_version_status.add(version=number, state=int(state))
        status.status.SetInParent()
        if error is not None:
            status.status.error_code = error.code.value[0]
            status.status.error_message = error.wire_message
    return response


def metadata_response(manager: ModelManager, target: Target) -> Any:
    """GetModelMetadataResponse with a loaded version's signatures in `signature_def`."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with manager.lease(*target) as (number, servable):
        response.model_spec.name = target.name
        response.model_spec.version.value = number
        for key, signature in servable.signatures.items():
            signatures.signature_def[key].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response
