"""The gRPC API: PredictionService and ModelService over a model manager."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc

from serving.model_server.config import config_from_proto
from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.manager import ModelManager
from serving.model_server.model_info import metadata_response, status_response
from serving.model_server.signatures import DEFAULT_SIGNATURE, received_arrays
from serving.protos import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.tensors import array_to_proto

_LARGEST_MESSAGE = 2**31 - 1


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata."""

    def __init__(self, manager: ModelManager, *, as_content: bool) -> None:
        """`as_content` answers with `tensor_content` instead of typed fields."""
        self._manager = manager
        self._as_content = as_content

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's names
        """Runs a signature of a model version."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describes a model version's signatures."""
        return _answer(context, lambda: self._metadata(request))

    def Classify(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not implemented yet."""
        _unimplemented(context, "Classify")

    def Regress(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not implemented yet."""
        _unimplemented(context, "Regress")

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> NoReturn:  # noqa: N802
        """Not implemented yet."""
        _unimplemented(context, "MultiInference")

    def _predict(self, request: Any) -> Any:
        spec = request.model_spec
        with self._manager.lease(*_target(request)) as (number, servable):
            servable.signature(spec.signature_name)
            inputs = received_arrays(request.inputs)
            outputs = servable.predict(spec.signature_name, inputs, list(request.output_filter))
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = number
        response.model_spec.signature_name = spec.signature_name or DEFAULT_SIGNATURE
        for alias, array in outputs.items():
            response.outputs[alias].CopyFrom(array_to_proto(array, as_content=self._as_content))
        return response

    def _metadata(self, request: Any) -> Any:
        target = _target(request)
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        return metadata_response(self._manager, *target)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Tells the states of a model's versions."""
        return _answer(context, lambda: status_response(self._manager, *_target(request)))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Serves what the request's config says in place of what was served before; answers when that is so."""
        return _answer(context, lambda: self._reload(request.config))

    def _reload(self, config: Any) -> Any:
        if config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        self._manager.apply(config_from_proto(config))
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def make_server(
    manager: ModelManager, pool: ThreadPoolExecutor, *, as_content: bool, channel_arguments: str
) -> grpc.Server:
    """A gRPC server with both services, answering in a pool of threads; ports can still be added to it.

    `channel_arguments` are comma-separated `key=value` pairs, which win over ours.
    """
    server = grpc.server(
        pool,
        options=[
            # Without this a second server would share the port, and each would get some of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
            *_channel_arguments(channel_arguments),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(manager, as_content=as_content), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), server)
    return server


def _channel_arguments(text: str) -> list[tuple[str, str | int]]:
    arguments: list[tuple[str, str | int]] = []
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise invalid_argument(f"--grpc_channel_arguments has {pair!r}; expected key=value pairs.")
        arguments.append((key, int(value) if value.removeprefix("-").isdecimal() else value))
    return arguments


def _target(request: Any) -> tuple[str, int | None, str | None]:
    """The model's name, and the version or label of it that the request names."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    return (
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ServerError as error:
        context.abort(error.code, error.wire_message)


def _unimplemented(context: grpc.ServicerContext, name: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} is not implemented yet")
    raise AssertionError("abort always raises")
