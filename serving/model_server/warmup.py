"""Replaying a model's own warm-up requests before it serves, so that no client waits for lazy initialisation."""

from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf

from serving.artifact import EXTRA, WARM_UP
from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.signatures import Servable, received_arrays
from serving.protos import prediction_log_pb2

_RECORD_LIMIT = 1000


def warm_up(servable: Servable, path: Path, iterations: int) -> int:
    """Replays the Predict requests of a SavedModel's warm-up file; returns how many there were.

    The file is a TFRecord of `PredictionLog`; records of other kinds are passed over. Raises ServerError if the file
    cannot be read, holds more than 1,000 records, or one of its requests fails.
    """
    file = path / EXTRA / WARM_UP
    if not file.exists():
        return 0
    replayed = 0
    try:
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file)), start=1):
            if count > _RECORD_LIMIT:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({_RECORD_LIMIT}) in {file}")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") == "predict_log":
                _replay(servable, log.predict_log.request, iterations)
                replayed += 1
    except ServerError as error:
        raise ServerError(error.code, f"Warm-up failed: {error.message}") from None
    except (tf.errors.OpError, ValueError, OSError) as error:
        # ValueError is the base of protobuf's DecodeError.
        raise ServerError(grpc.StatusCode.DATA_LOSS, f"Warm-up failed: cannot read {file}: {error}") from None
    return replayed


def _replay(servable: Servable, request: Any, iterations: int) -> None:
    inputs = received_arrays(request.inputs)
    for _ in range(max(1, iterations)):
        servable.predict(request.model_spec.signature_name, inputs, list(request.output_filter))
