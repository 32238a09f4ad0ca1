"""The gRPC client."""

from collections.abc import Mapping
from typing import Any

import grpc

from serving.client.interface import Answer, Client, Signature, TensorInfo, VersionStatus, as_array, as_text
from serving.errors import ServingError
from serving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    types_pb2,
)
from serving.repository import STABLE
from serving.tensors import array_from_proto, array_to_proto


class GrpcClient(Client):
    """A model server's gRPC port. One connection carries all calls, from any number of threads."""

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__(address, timeout)
        options = [
            # gRPC's own limit is 4 MB, less than a batch of photographs.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # A proxy for the world outside must not catch requests to a server on this machine.
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.insecure_channel(address, options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def ask(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = STABLE,
    ) -> Answer:
        """See `Client.ask`."""
        request = predict_pb2.PredictRequest(model_spec=_spec(model, version, label, signature))
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(array_to_proto(as_array(value), as_content=True))
        response = self._call(self._prediction.Predict, request, model)
        outputs = {name: as_text(name, array_from_proto(proto)) for name, proto in response.outputs.items()}
        return Answer(outputs, response.model_spec.version.value)

    def version_of(self, model: str, label: str | None = STABLE) -> int | None:
        """The version that answers for a label, or without one; None where none does."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=_spec(model, None, label), metadata_field=["signature_def"]
        )
        try:
            return self._prediction.GetModelMetadata(request, timeout=self.timeout).model_spec.version.value
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                return None
            raise self._explained(error, model) from None

    def metadata(self, model: str, *, version: int | None = None, label: str | None = STABLE) -> dict[str, Signature]:
        """See `Client.metadata`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=_spec(model, version, label), metadata_field=["signature_def"]
        )
        response = self._call(self._prediction.GetModelMetadata, request, model)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            name: Signature(_tensors(signature.inputs), _tensors(signature.outputs))
            for name, signature in signatures.signature_def.items()
        }

    def status(self, model: str) -> list[VersionStatus]:
        """See `Client.status`."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(model, None, None))
        response = self._call(self._model.GetModelStatus, request, model)
        state_name = get_model_status_pb2.ModelVersionStatus.State.Name
        return [
            VersionStatus(found.version, state_name(found.state), found.status.error_message)
            for found in response.model_version_status
        ]

    def reload(self, config: Any) -> None:
        """Have the server serve what this ModelServerConfig says, in place of what it served; returns when it does.

        Raises ServingError where the server turns the config down, or cannot load what is new in it.
        """
        request = model_management_pb2.ReloadConfigRequest(config=config)
        try:
            self._model.HandleReloadConfigRequest(request, timeout=self.timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ServingError(
                    f"{self.address} did not finish the reload within {self.timeout:g} s; look at its log, and call "
                    "again."
                ) from None
            raise self._explained(error, "a new config") from None

    def check_reachable(self, seconds: float = 10.0) -> None:
        """Raise ServingError unless a model server answers, be it that it knows no model."""
        try:
            self._model.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), timeout=seconds)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise self.unreachable() from None

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _call(self, method: Any, request: Any, model: str) -> Any:
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._explained(error, model) from None

    def _explained(self, error: Any, model: str) -> ServingError:
        code = error.code()
        if code == grpc.StatusCode.UNAVAILABLE:
            return self.unreachable()
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self.too_late()
        return self.refused(model, error.details() or code.name)


def _spec(model: str, version: int | None, label: str | None, signature: str = "") -> Any:
    spec = model_pb2.ModelSpec(name=model, signature_name=signature)
    if version is not None:
        spec.version.value = version
    elif label:
        spec.version_label = label
    return spec


def _tensors(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(types_pb2.DataType.Name(info.dtype), tuple(dim.size for dim in info.tensor_shape.dim))
        for name, info in tensors.items()
    }
