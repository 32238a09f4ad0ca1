"""Replaying a model's own warm-up requests before it serves, so that no client waits for lazy initialisation."""

import time
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError

from serving.artifact import EXTRA, WARM_UP
from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.examples import classify, multi_inference, regress
from serving.model_server.metrics import Metrics
from serving.model_server.signatures import Servable, received_arrays
from serving.protos import prediction_log_pb2

_RECORD_LIMIT = 1000


def warm_up(servable: Servable, path: Path, iterations: int, metrics: Metrics) -> None:
    """Replays the requests of a SavedModel's warm-up file, each `iterations` times, at least once.

    The file is a TFRecord of `PredictionLog`, of Predict, Classify, Regress and MultiInference requests. Raises
    ServerError if it cannot be read, holds more than 1,000 records, or one of its requests fails.
    """
    file = path / EXTRA / WARM_UP
    if not file.exists():
        return
    started = time.perf_counter()
    try:
        _replay(servable, file, max(1, iterations))
    except ServerError as error:
        metrics.count_warm_up(str(path), error.code.name, time.perf_counter() - started)
        raise ServerError(error.code, f"Warm-up failed: {error.message}") from None
    metrics.count_warm_up(str(path), "OK", time.perf_counter() - started)


def _replay(servable: Servable, file: Path, iterations: int) -> None:
    try:
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file)), start=1):
            if count > _RECORD_LIMIT:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({_RECORD_LIMIT}) at {file}")
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError:
                raise invalid_argument(f"Failed to parse warmup record {count} from {file}") from None
            for _ in range(iterations):
                _ask(servable, log)
    except tf.errors.OpError as error:
        reason = f"{error.message}. Please verify your warmup data is in TFRecord format ({file})."
        raise ServerError(grpc.StatusCode.DATA_LOSS, reason) from None


def _ask(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        asked = log.predict_log.request
        inputs = received_arrays(asked.inputs)
        servable.predict(asked.model_spec.signature_name, inputs, list(asked.output_filter))
    elif kind == "classify_log":
        classify(servable, log.classify_log.request.model_spec.signature_name, log.classify_log.request.input)
    elif kind == "regress_log":
        regress(servable, log.regress_log.request.model_spec.signature_name, log.regress_log.request.input)
    elif kind == "multi_inference_log":
        multi_inference(servable, log.multi_inference_log.request.tasks, log.multi_inference_log.request.input)
    elif kind is not None:
        raise ServerError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
