"""How requests are batched together: TensorFlow Serving's BatchingParameters, checked."""

import logging
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from serving.config_protos import BatchingParameters
from serving.model_server.errors import invalid_argument
from serving.model_server.flags import Flags
from serving.model_server.text_files import read_message

PER_MODEL_FILE = "batching_params.pbtxt"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchingOptions:
    """With TensorFlow Serving's names and defaults: rows of a request and of a batch at most, microseconds that an
    incomplete batch waits, batches that wait at most, threads that run them, sizes up to which batches are filled up
    (none: not at all); and whether larger requests are split, into how many rows at most (0: as many as are taken)."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def most_at_once(self) -> int:
        """Rows that run together at most."""
        return (self.enable_large_batch_splitting and self.max_execution_batch_size) or self.max_batch_size


def read_batching(flags: Flags) -> BatchingOptions | None:
    """What the flags ask for, None without batching; raises ServerError for a file that is wrong."""
    if not flags.enable_batching:
        return None
    if not flags.batching_parameters_file:
        return BatchingOptions()
    return _read("batching_parameters_file", flags.batching_parameters_file)


def batching_of(version: Path, flags: Flags, common: BatchingOptions | None) -> BatchingOptions | None:
    """The options of one version: its own file's, where --enable_per_model_batching_parameters and it has one."""
    own = version / PER_MODEL_FILE
    if common is None or not flags.enable_per_model_batching_parameters or not own.exists():
        return common
    return _read("enable_per_model_batching_parameters", str(own))


def _read(flag: str, path: str) -> BatchingOptions:
    message = read_message(flag, path, BatchingParameters())
    if message.pad_variable_length_inputs:
        _LOG.warning("pad_variable_length_inputs in %s has no effect in this server", path)
    names = [field.name for field in fields(BatchingOptions) if field.name != "allowed_batch_sizes"]
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    return _check(BatchingOptions(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes)), path)


def _check(options: BatchingOptions, path: str) -> BatchingOptions:
    for name, least in (
        ("max_batch_size", 1),
        ("batch_timeout_micros", 0),
        ("max_enqueued_batches", 1),
        ("num_batch_threads", 1),
        ("max_execution_batch_size", 0),
    ):
        value: Any = getattr(options, name)
        if value < least:
            raise invalid_argument(f"{name} must be at least {least}; was {value} in {path}")
    sizes = options.allowed_batch_sizes
    if list(sizes) != sorted(set(sizes)) or (sizes and sizes[0] < 1):
        raise invalid_argument(f"allowed_batch_sizes entries must be monotonically increasing; see {path}")
    if options.most_at_once > options.max_batch_size:
        raise invalid_argument(f"max_execution_batch_size must be at most max_batch_size; see {path}")
    if sizes and sizes[-1] != options.most_at_once:
        name = "max_execution_batch_size" if options.enable_large_batch_splitting else "max_batch_size"
        raise invalid_argument(
            f"Last entry in allowed_batch_sizes must match {name}; last entry was {sizes[-1]}; expected "
            f"{options.most_at_once}; see {path}"
        )
    return options
