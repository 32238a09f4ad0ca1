"""The command line: `tensorflow_model_server`'s flags in its own form, `--flag=value`, and four of ours."""

import dataclasses
import difflib
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.errors import ServingError
from serving.model_server.logs import FORMATS


class FlagError(ServingError):
    """A command line that cannot be understood."""


def _flag(default: Any, description: str) -> Any:
    return dataclasses.field(default=default, metadata={"description": description, "inert": False})


def _inert(default: Any, description: str) -> Any:
    """A flag that is accepted so that command lines carry over, and that has no effect here."""
    return dataclasses.field(default=default, metadata={"description": description, "inert": True})


_THREADS = 4 * (os.cpu_count() or 1)
LARGEST_REQUEST = 2**31 - 1
"""Bytes: what a protobuf message can have at most."""


@dataclass(frozen=True)
class Flags:
    """The server's settings; one field a flag, with TensorFlow Serving's names and defaults."""

    host: str = _flag("127.0.0.1", "address to listen on; 0.0.0.0 for every interface")
    port: int = _flag(8500, "TCP port for gRPC; 0 switches it off")
    rest_api_port: int = _flag(0, "TCP port for HTTP/REST; 0 switches it off")
    grpc_socket_path: str = _flag("", "Unix socket for gRPC, besides the port")
    model_config_file: str = _flag("", "text-format ModelServerConfig: the models, versions and labels to serve")
    model_config_file_poll_wait_seconds: int = _flag(0, "seconds between looks at the config file; 0 reads it once")
    model_name: str = _flag("default", "name of the one model to serve, without --model_config_file")
    model_base_path: str = _flag("", "absolute path of the folder of its numbered versions")
    file_system_poll_wait_seconds: int = _flag(1, "seconds between looks for new versions; 0 looks once")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "allow a new label on a version that is not loaded yet"
    )
    max_num_load_retries: int = _flag(5, "how often a failed load is tried again")
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between these attempts")
    num_load_threads: int = _flag(0, "versions that load at the same time; 0 loads one by one")
    enable_model_warmup: bool = _flag(True, "replay assets.extra/tf_serving_warmup_requests before a version serves")
    num_request_iterations_for_warmup: int = _flag(0, "how often each warm-up request is replayed, if over 0")
    saved_model_tags: str = _flag("serve", "comma-separated tags of the graph to load")
    tensorflow_session_parallelism: int = _flag(0, "threads of a Session, inside and across operations; 0 is automatic")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads inside one operation; 0 is automatic")
    tensorflow_inter_op_parallelism: int = _flag(0, "operations that run at the same time; 0 is automatic")
    per_process_gpu_memory_fraction: float = _flag(0.0, "share of the GPU's memory to take; 0 leaves it to TensorFlow")
    rest_api_timeout_in_ms: int = _flag(30_000, "milliseconds a REST prediction may take")
    rest_api_num_threads: int = _flag(_THREADS, "threads that answer REST requests")
    rest_api_enable_cors_support: bool = _flag(False, "send CORS headers, so that web pages may call the REST API")
    grpc_max_threads: int = _flag(_THREADS, "threads that answer gRPC requests")
    grpc_channel_arguments: str = _flag("", "comma-separated key=value arguments of the gRPC server")
    enable_serialization_as_tensor_content: bool = _flag(False, "answer with tensor_content, not with typed fields")
    enable_signature_method_name_check: bool = _flag(False, "refuse signatures made for another API than the asked one")
    monitoring_config_file: str = _flag("", "text-format MonitoringConfig: metrics for Prometheus on the REST port")
    ssl_config_file: str = _flag("", "text-format SSLConfig: TLS for gRPC")
    enable_grpc_healthcheck_service: bool = _flag(False, "offer gRPC's health checking service")
    tensorflow_session_config_file: str = _flag("", "text-format tensorflow.ConfigProto for the Sessions")
    enable_batching: bool = _flag(False, "run requests that come at the same time as one batch")
    batching_parameters_file: str = _flag("", "text-format BatchingParameters; needs --enable_batching")
    enable_per_model_batching_parameters: bool = _flag(
        False, "read BatchingParameters from a version's batching_params.pbtxt, where it has one"
    )
    drain_seconds: float = _flag(10.0, "seconds that requests in flight get when the server is told to stop")
    max_request_bytes: int = _flag(LARGEST_REQUEST, "the largest request that is taken, unpacked")
    log_format: str = _flag("text", f"form of the log on standard error: {' or '.join(FORMATS)}")
    version: bool = _flag(False, "print the version and exit")

    use_alts_credentials: bool = _inert(False, "use Google's ALTS credentials")
    platform_config_file: str = _inert("", "text-format PlatformConfigMap")
    num_unload_threads: int = _inert(0, "versions that unload at the same time")
    flush_filesystem_caches: bool = _inert(True, "flush file system caches after loading")
    remove_unused_fields_from_bundle_metagraph: bool = _inert(True, "save memory on the graph's description")
    prefer_tflite_model: bool = _inert(False, "serve model.tflite where there is one")
    num_tflite_pools: int = _inert(0, "TFLite interpreter pools")
    num_tflite_interpreters_per_pool: int = _inert(0, "TFLite interpreters in a pool")
    xla_cpu_compilation_enabled: bool = _inert(False, "XLA on the CPU")
    xla_gpu_compilation_enabled: bool = _inert(False, "XLA on the GPU")
    enable_profiler: bool = _inert(True, "offer the profiler service")
    thread_pool_factory_config_file: str = _inert("", "text-format ThreadPoolConfig")
    mixed_precision: str = _inert("", "mixed precision mode")
    skip_initialize_tpu: bool = _inert(False, "leave TPUs alone")


_FIELDS = {field.name: field for field in dataclasses.fields(Flags)}


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Reads `--flag=value` arguments; a boolean may stand alone or take true, false, 1 or 0. Raises FlagError."""
    return _check(dataclasses.replace(Flags(), **dict(_parse(argument) for argument in arguments)))


def ignored_flags(arguments: Sequence[str]) -> list[str]:
    """Those of the arguments' flags that have no effect in this server, each once, as `--flag`."""
    names = dict.fromkeys(_parse(argument)[0] for argument in arguments)
    return [f"--{name}" for name in names if _FIELDS[name].metadata["inert"]]


def usage() -> str:
    """The help text: one line a flag."""
    lines = ["usage: python -m serving.model_server --flag=value ...", ""]
    for field in _FIELDS.values():
        note = " (accepted, no effect here)" if field.metadata["inert"] else f" [{_show(field.default)}]"
        lines.append(f"  --{field.name}: {field.metadata['description']}{note}")
    return "\n".join(lines)


def _show(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default) or "none"


def _parse(argument: str) -> tuple[str, Any]:
    name, equals, text = argument.removeprefix("--").partition("=")
    if not argument.startswith("--"):
        raise FlagError(f"Unexpected argument {argument!r}; flags are written --flag=value.")
    if name not in _FIELDS:
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        hint = f"did you mean --{near[0]}?" if near else "--help lists the flags."
        raise FlagError(f"Unknown flag --{name}; {hint}")
    default: Any = _FIELDS[name].default
    if isinstance(default, bool):
        return name, _parse_bool(name, text if equals else "true")
    if not equals:
        raise FlagError(f"--{name} needs a value, written --{name}=VALUE.")
    try:
        return name, type(default)(text)
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise FlagError(f"--{name}={textwrap.shorten(text, 60)} is not {kind}.") from None


def _parse_bool(name: str, text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise FlagError(f"--{name}={text} is neither true nor false.")
    return values[text.lower()]


def _check(flags: Flags) -> Flags:
    if flags.version:
        return flags
    for name in ("port", "rest_api_port"):
        if not 0 <= getattr(flags, name) <= 65535:
            raise FlagError(f"--{name}={getattr(flags, name)} is not a port; give 0 (off) to 65535.")
    if flags.port and flags.port == flags.rest_api_port:
        raise FlagError(f"--port and --rest_api_port are both {flags.port}; give each its own.")
    if not (flags.port or flags.rest_api_port or flags.grpc_socket_path):
        raise FlagError("Nothing to listen on: give --port, --rest_api_port or --grpc_socket_path.")
    if not (flags.model_config_file or flags.model_base_path):
        raise FlagError("No model to serve: give --model_config_file, or --model_name and --model_base_path.")
    if flags.batching_parameters_file and not flags.enable_batching:
        raise FlagError("--batching_parameters_file needs --enable_batching.")
    for name in ("rest_api_num_threads", "grpc_max_threads"):
        if getattr(flags, name) < 1:
            raise FlagError(f"--{name}={getattr(flags, name)} is too few; give 1 or more.")
    if not 1 <= flags.max_request_bytes <= LARGEST_REQUEST:
        raise FlagError(f"--max_request_bytes={flags.max_request_bytes} is not a size; give 1 to {LARGEST_REQUEST}.")
    if flags.log_format not in FORMATS:
        raise FlagError(f"--log_format={flags.log_format} is unknown; give {' or '.join(FORMATS)}.")
    if not flags.drain_seconds >= 0:
        raise FlagError(f"--drain_seconds={flags.drain_seconds} is not a time; give 0 or more seconds.")
    return flags
