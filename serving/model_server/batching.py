"""Batching across requests, by TensorFlow's own batch function: what asks at the same time runs as one batch.

Around each signature's part of the graph goes a function that gathers the inputs of concurrent runs along their first
axis, runs once, and gives each its rows back. As in TensorFlow Serving, what is no signature's whole set of outputs is
run by itself, and so is what has no first axis in common.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf

from serving.model_server.batching_config import BatchingOptions
from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.tensors import Array

_LOG = logging.getLogger(__name__)
_QUEUE_IS_FULL = "queue to which this task was submitted is full"
# A run that these end must not be started again.
_FINAL = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


@dataclass(frozen=True)
class _Batched:
    """The tensors to feed and to fetch in place of a signature's own."""

    feeds: dict[str, str]
    fetches: dict[str, str]


class BatchedSession(SavedModelSession):
    """A SavedModel whose concurrent runs are batched."""

    def __init__(self, path: Path, options: SessionOptions, batching: BatchingOptions) -> None:
        """Raises ServerError if TensorFlow cannot load the model."""
        super().__init__(path, options)
        self._batching = batching
        self._batched: dict[tuple[frozenset[str], frozenset[str]], _Batched] = {}
        for name, signature in self.signatures.items():
            feeds = [info.name for info in signature.inputs.values()]
            fetches = [info.name for info in signature.outputs.values()]
            key = frozenset(feeds), frozenset(fetches)
            if not feeds or not all([*feeds, *fetches]) or key in self._batched:
                continue
            try:
                self._batched[key] = self._wrap(feeds, fetches)
            except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
                reason = str(error).partition("\n")[0]
                _LOG.warning("%s: requests for the signature %s are not batched: %s", path, name, reason)
        self._session._extend_graph()

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout_ms: int = 0) -> list[Array]:
        """As the session's own; raises ServerError RESOURCE_EXHAUSTED where as much waits as may."""
        batched = self._batched.get((frozenset(feeds), frozenset(fetches)))
        rows = _rows(feeds)
        if batched is None or not rows:
            return super().run(feeds, fetches, timeout_ms)
        most = self._batching.max_batch_size
        if rows > most:
            raise invalid_argument(f"Task size {rows} is larger than maximum input batch size {most}")
        inputs = {batched.feeds[name]: array for name, array in feeds.items()}
        began = time.monotonic()
        try:
            return super().run(inputs, [batched.fetches[name] for name in fetches], timeout_ms)
        except ServerError as error:
            if _QUEUE_IS_FULL in error.message:
                raise ServerError(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message) from None
            if error.code in _FINAL:
                raise
        # All of a batch fail where one of them is at fault. By itself each gets what is its own.
        if timeout_ms:
            timeout_ms = max(1, timeout_ms - round((time.monotonic() - began) * 1000))
        return super().run(feeds, fetches, timeout_ms)

    def _wrap(self, feeds: Sequence[str], fetches: Sequence[str]) -> _Batched:
        part = tf.compat.v1.graph_util.extract_sub_graph(
            self._graph.as_graph_def(), sorted({name.partition(":")[0] for name in fetches})
        )
        options = self._batching
        sizes = list(options.allowed_batch_sizes)
        if not sizes and options.most_at_once < options.max_batch_size:
            # The last of the sizes is the most that TensorFlow runs together; with all of them nothing is filled up.
            sizes = list(range(1, options.most_at_once + 1))

        @tf.nondifferentiable_batch_function(
            num_batch_threads=options.num_batch_threads,
            max_batch_size=options.max_batch_size,
            batch_timeout_micros=options.batch_timeout_micros,
            allowed_batch_sizes=sizes or None,
            max_enqueued_batches=options.max_enqueued_batches,
            autograph=False,
            enable_large_batch_splitting=options.enable_large_batch_splitting,
        )
        def run_part(*inputs: Any) -> Any:
            replaced = dict(zip(feeds, inputs, strict=True))
            return tf.graph_util.import_graph_def(part, input_map=replaced, return_elements=list(fetches), name="")

        with self._graph.as_default():
            # Of any shape, for the graph decides about shapes.
            inputs = [tf.compat.v1.placeholder(self._graph.get_tensor_by_name(name).dtype) for name in feeds]
            outputs = run_part(*inputs)
        return _Batched(
            {name: tensor.name for name, tensor in zip(feeds, inputs, strict=True)},
            {name: tensor.name for name, tensor in zip(fetches, outputs, strict=True)},
        )


def _rows(feeds: Mapping[str, Array]) -> int:
    """The size of the inputs' first axis; 0 where they have none in common."""
    sizes = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    return sizes.pop() if len(sizes) == 1 else 0
