"""A SavedModel loaded into a v1 Session, as TensorFlow Serving does it: the loading room.

`tf.saved_model.load` refuses some valid SavedModels, among them several in TF1's style; a Session loads them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session

from serving.model_server.errors import ServerError, invalid_argument, status_code
from serving.tensors import Array

# The loader's only doors are marked as deprecated, on every call.
tf.get_logger().setLevel("ERROR")

# TensorFlow walks strings with an iterator of NumPy's that has no more, and crashes where it is refused one.
_MOST_STRING_DIMENSIONS = 32


@dataclass(frozen=True)
class SessionOptions:
    """How Sessions are made: the graph's tags, threads (0 is automatic), share of GPU memory (0 is automatic), and a
    `tensorflow.ConfigProto` that these are put on top of."""

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    config: Any = None


class SavedModelSession:
    """One loaded SavedModel; `run` may be called from many threads at once and does not hold the GIL meanwhile."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Loads variables, assets and signatures; raises ServerError if TensorFlow cannot."""
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=_config(options))
        self._outputs: dict[str, Any] = {}
        try:
            with self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, list(options.tags), str(path))
            # The C API's door, below, runs what the Session has been told of.
            self._session._extend_graph()
        except tf.errors.OpError as error:
            self._session.close()
            raise _server_error(error) from None
        except Exception as error:  # noqa: BLE001 - a damaged file surfaces as whatever its reader raises
            self._session.close()
            # The reader's errors for a graph that is not there, and for tags that none has.
            missing = isinstance(error, OSError | RuntimeError)
            code = grpc.StatusCode.NOT_FOUND if missing else grpc.StatusCode.INTERNAL
            raise ServerError(code, f"Cannot load {path}: {error}") from None
        self.signatures: Mapping[str, Any] = dict(meta_graph.signature_def)

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0) -> list[Array]:
        """Runs the graph: tensor names to arrays in, the fetched tensors' arrays out, in order.

        Raises ServerError with TensorFlow's code and message, DEADLINE_EXCEEDED after `timeout_ms` (0 is no limit).
        """
        for array in feeds.values():
            if array.dtype == object and array.ndim > _MOST_STRING_DIMENSIONS:
                raise invalid_argument(
                    f"A tensor of strings has at most {_MOST_STRING_DIMENSIONS} dimensions here, not {array.ndim}"
                )
        inputs = {self._output(name): array for name, array in feeds.items()}
        outputs = [self._output(name) for name in fetches]
        options = _run_options(timeout_ms) if timeout_ms else None
        try:
            # Private, hence TensorFlow's pinned minor version: it is the C API's own door. Session.run and
            # make_callable check the shapes of feeds in Python, where TensorFlow Serving lets the graph decide, and
            # they cost four times as much a call. A callable of _make_callable_from_options costs a fifth less, but
            # has its timeout built in, and a graph of its own for each.
            values = self._session._call_tf_sessionrun(options, inputs, outputs, [], None)
            # A string scalar comes as bytes, every other tensor as an array or a NumPy scalar.
            return [np.array(value, dtype=object) if isinstance(value, bytes) else value for value in values]
        except tf.errors.OpError as error:
            raise _server_error(error) from None
        except UnicodeDecodeError as error:
            # TensorFlow's error quotes bytes of the request that are no text; its code is lost on the way here.
            raise invalid_argument(error.object.decode("utf-8", "replace")) from None
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Frees the model; `run` must not be called any more."""
        self._outputs.clear()
        self._session.close()

    def _output(self, name: str) -> Any:
        if name not in self._outputs:
            try:
                self._outputs[name] = self._graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError, TypeError):
                raise invalid_argument(f"The signature names the tensor {name!r}, which the graph lacks") from None
        return self._outputs[name]


def _run_options(timeout_ms: int) -> Any:
    options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms)
    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


def _config(options: SessionOptions) -> Any:
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    if options.config is not None:
        config.MergeFrom(options.config)
    if options.intra_op_threads:
        config.intra_op_parallelism_threads = options.intra_op_threads
    if options.inter_op_threads:
        config.inter_op_parallelism_threads = options.inter_op_threads
    if options.gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    return config


def _server_error(error: tf.errors.OpError) -> ServerError:
    return ServerError(status_code(error.error_code), error.message)
