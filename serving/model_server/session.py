"""A SavedModel loaded into a v1 Session, as TensorFlow Serving does it: the loading room.

`tf.saved_model.load` refuses some valid SavedModels, among them several in TF1's style; a Session loads them all.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from serving.model_server.errors import ServerError, status_code
from serving.tensors import Array

# The loader's only doors are marked as deprecated, on every call.
tf.get_logger().setLevel("ERROR")


@dataclass(frozen=True)
class SessionOptions:
    """How Sessions are made: the graph's tags, threads (0 is automatic) and share of GPU memory (0 is automatic)."""

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0


class SavedModelSession:
    """One loaded SavedModel; `run` may be called from many threads at once and does not hold the GIL meanwhile."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Loads variables, assets and signatures; raises ServerError if TensorFlow cannot."""
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_config(options))
        self._callables: dict[Any, Callable[..., list[Array]]] = {}
        self._lock = threading.Lock()
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, list(options.tags), str(path))
        except tf.errors.OpError as error:
            self._session.close()
            raise _server_error(error) from None
        except Exception as error:  # noqa: BLE001 - a damaged file surfaces as whatever its reader raises
            self._session.close()
            raise ServerError(grpc.StatusCode.INTERNAL, f"Cannot load {path}: {error}") from None
        self.signatures: Mapping[str, Any] = dict(meta_graph.signature_def)

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0) -> list[Array]:
        """Runs the graph: tensor names to arrays in, the fetched tensors' arrays out, in order.

        Raises ServerError with TensorFlow's code and message, DEADLINE_EXCEEDED after `timeout_ms` (0 is no limit).
        """
        call = self._callable(tuple(feeds), tuple(fetches), timeout_ms)
        try:
            return call(*feeds.values())
        except tf.errors.OpError as error:
            raise _server_error(error) from None

    def close(self) -> None:
        """Frees the model; `run` must not be called any more."""
        self._callables.clear()
        self._session.close()

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...], timeout_ms: int) -> Callable[..., Any]:
        key = feeds, fetches, timeout_ms
        with self._lock:
            if key not in self._callables:
                self._callables[key] = self._make_callable(feeds, fetches, timeout_ms)
            return self._callables[key]

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...], timeout_ms: int) -> Callable[..., Any]:
        options = config_pb2.CallableOptions()
        options.feed.extend(feeds)
        options.fetch.extend(fetches)
        options.run_options.timeout_in_ms = timeout_ms
        try:
            # Private, hence TensorFlow's pinned minor version: it is the C API's own door. Session.run and
            # make_callable check the shapes of feeds in Python, where TensorFlow Serving lets the graph decide, and
            # they cost three times as much a call.
            return self._session._make_callable_from_options(options)
        except tf.errors.OpError as error:
            raise _server_error(error) from None


def _config(options: SessionOptions) -> Any:
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads,
        allow_soft_placement=True,
    )
    config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    return config


def _server_error(error: tf.errors.OpError) -> ServerError:
    return ServerError(status_code(error.error_code), error.message)
