"""The gRPC API: PredictionService and ModelService over a model manager."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.model_server.config import config_from_proto
from serving.model_server.errors import ServerError, internal_error, invalid_argument
from serving.model_server.examples import classify, multi_inference, regress
from serving.model_server.manager import ModelManager
from serving.model_server.metrics import Metrics
from serving.model_server.model_info import Target, metadata_response, status_response
from serving.model_server.signatures import DEFAULT_SIGNATURE, received_arrays
from serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)
from serving.tensors import TensorError, array_to_proto

PREDICTION_SERVICE, MODEL_SERVICE = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"

_LONGEST = 2**31 - 1  # milliseconds that a run's timeout can have
# In a message's place. gRPC takes None for an error of the reader.
_MALFORMED = object()


class GrpcApi:
    """What both services do. A method takes a request and the milliseconds that are left for it, 0 for any time."""

    def __init__(self, manager: ModelManager, metrics: Metrics, *, as_content: bool) -> None:
        """`as_content` answers with `tensor_content` instead of typed fields."""
        self._manager = manager
        self._metrics = metrics
        self._as_content = as_content

    def handlers(self) -> dict[str, dict[str, Any]]:
        """For each service its methods, as gRPC takes them."""
        return {
            PREDICTION_SERVICE: {
                "Predict": self._handler(self.predict, predict_pb2.PredictRequest, "Predict"),
                "Classify": self._handler(
                    partial(self.ask_about_examples, classify, classification_pb2.ClassificationResponse),
                    classification_pb2.ClassificationRequest,
                    "Classify",
                ),
                "Regress": self._handler(
                    partial(self.ask_about_examples, regress, regression_pb2.RegressionResponse),
                    regression_pb2.RegressionRequest,
                    "Regress",
                ),
                "MultiInference": self._handler(
                    self.multi_inference, inference_pb2.MultiInferenceRequest, "MultiInference"
                ),
                "GetModelMetadata": self._handler(self.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
            MODEL_SERVICE: {
                "GetModelStatus": self._handler(self.status, get_model_status_pb2.GetModelStatusRequest),
                "HandleReloadConfigRequest": self._handler(self.reload, model_management_pb2.ReloadConfigRequest),
            },
        }

    def predict(self, request: Any, timeout_ms: int) -> Any:
        """Runs a signature of a model version."""
        spec = _spec(request)
        with self._manager.lease(*_target(spec)) as (number, servable):
            servable.signature(spec.signature_name)
            inputs = received_arrays(request.inputs)
            outputs = servable.predict(spec.signature_name, inputs, list(request.output_filter), timeout_ms)
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, spec, number)
        for alias, array in outputs.items():
            try:
                response.outputs[alias].CopyFrom(array_to_proto(array, as_content=self._as_content))
            except TensorError as error:
                raise ServerError(grpc.StatusCode.UNIMPLEMENTED, f"Output {alias}: {error}") from None
        return response

    def ask_about_examples(self, ask: Callable[..., Any], response_class: Any, request: Any, timeout_ms: int) -> Any:
        """Classifies or regresses the request's tf.Examples."""
        spec = _spec(request)
        with self._manager.lease(*_target(spec)) as (number, servable):
            response = response_class(result=ask(servable, spec.signature_name, request.input, timeout_ms))
        _fill_spec(response.model_spec, spec, number)
        return response

    def multi_inference(self, request: Any, timeout_ms: int) -> Any:
        """Classifies and regresses the same tf.Examples, with one run of the graph."""
        # Which version answers is the first task's affair; without tasks no model is named.
        spec = request.tasks[0].model_spec if request.tasks else inference_pb2.InferenceTask().model_spec
        with self._manager.lease(*_target(spec)) as (number, servable):
            results = multi_inference(servable, request.tasks, request.input, timeout_ms)
        for result in results:
            result.model_spec.version.value = number
        return inference_pb2.MultiInferenceResponse(results=results)

    def metadata(self, request: Any, timeout_ms: int) -> Any:
        """Describes a model version's signatures."""
        target = _target(_spec(request))
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid_argument(f"Metadata field {field} is not supported")
        return metadata_response(self._manager, target)

    def status(self, request: Any, timeout_ms: int) -> Any:
        """Tells the states of a model's versions."""
        return status_response(self._manager, _target(_spec(request)))

    def reload(self, request: Any, timeout_ms: int) -> Any:
        """Serves what the request's config says in place of what was served before; answers when that is so."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
                "supported"
            )
        failed = self._manager.apply(config_from_proto(request.config))
        if failed:
            # The config is in force, and these are tried again: as in TensorFlow Serving.
            reasons = "".join(
                f"{{{{name: {version.model_name} version: {version.number}}} due to error: {version.error}}}, "
                for version in failed
            )
            names = {version.model_name for version in failed}
            message = f"{len(names)} model(s) did not become available: {{{reasons}}}"
            raise ServerError(grpc.StatusCode.UNKNOWN, message)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _handler(self, method: Callable[[Any, int], Any], request_class: Any, api: str = "") -> Any:
        """`api` is the name under which requests are counted, if they are."""

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            started = time.perf_counter()
            response, error = None, None
            try:
                if request is _MALFORMED:
                    raise invalid_argument(f"The message is not a {request_class.DESCRIPTOR.full_name}")
                response = method(request, _time_left(context))
            except ServerError as refusal:
                error = refusal
            except Exception as fault:  # noqa: BLE001 - a fault of ours must still be answered
                error = internal_error(fault, request_class.DESCRIPTOR.name)
            if api:
                name = self._manager.known(_model_name(request, api))
                status = "OK" if error is None else error.code.name
                self._metrics.count_request(name, status, api, "GRPC", time.perf_counter() - started)
            if error is not None:
                context.abort(error.code, error.wire_message)
            return response

        def parse(message: bytes) -> Any:
            # gRPC would answer INTERNAL and log a traceback for each.
            try:
                return request_class.FromString(message)
            except DecodeError:
                return _MALFORMED

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=parse, response_serializer=lambda response: response.SerializeToString()
        )


def _time_left(context: grpc.ServicerContext) -> int:
    """Milliseconds until the caller's deadline, 0 without one. Raises ServerError if nobody waits any more."""
    if not context.is_active():
        raise ServerError(grpc.StatusCode.CANCELLED, "The caller has gone")
    seconds: float | None = context.time_remaining()
    if seconds is None or seconds * 1000 > _LONGEST:
        return 0  # gRPC says centuries where there is none
    if seconds <= 0:
        raise ServerError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline exceeded before the request's turn came")
    return max(1, int(seconds * 1000))


def _spec(request: Any) -> Any:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request.model_spec


def _target(spec: Any) -> Target:
    choice = spec.WhichOneof("version_choice")
    return Target(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def _fill_spec(answered: Any, asked: Any, version: int) -> None:
    answered.name = asked.name
    answered.version.value = version
    answered.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _model_name(request: Any, api: str) -> str:
    if request is _MALFORMED or (api == "MultiInference" and not request.tasks):
        return ""
    return str((request.tasks[0] if api == "MultiInference" else request).model_spec.name)
