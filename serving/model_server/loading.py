"""From a version's folder to a warmed-up servable. Imports TensorFlow, so it is imported late."""

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from serving.model_server.batching import BatchedSession
from serving.model_server.batching_config import BatchingOptions, batching_of
from serving.model_server.errors import ServerError
from serving.model_server.flags import Flags
from serving.model_server.metrics import Metrics
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signatures import Servable
from serving.model_server.versions import leads_out
from serving.model_server.warmup import warm_up
from serving.protos import meta_graph_pb2, saved_model_pb2


@dataclass(frozen=True)
class LoadSettings:
    """What all models of a server share: its flags, the `tensorflow.ConfigProto` and the batching that they name."""

    flags: Flags
    session_config: Any
    batching: BatchingOptions | None


def load_servable(name: str, path: Path, base_path: Path, settings: LoadSettings, metrics: Metrics) -> Servable:
    """Loads the SavedModel in `path` and replays its warm-up requests; raises ServerError if either fails.

    So it does where a file of the model lies outside of `base_path`, by a link or by the name of an asset.
    """
    flags = settings.flags
    started = time.perf_counter()
    try:
        _check_contained(path, base_path)
        session = _load(path, settings)
    except ServerError:
        metrics.count_load(str(path), succeeded=False, seconds=time.perf_counter() - started)
        raise
    metrics.count_load(str(path), succeeded=True, seconds=time.perf_counter() - started)
    servable = Servable(
        session,
        check_method_names=flags.enable_signature_method_name_check,
        count_run=functools.partial(metrics.count_run, name),
        count_examples=functools.partial(metrics.count_examples, name),
    )
    if flags.enable_model_warmup:
        try:
            warm_up(servable, path, flags.num_request_iterations_for_warmup, metrics)
        except BaseException:
            servable.close()
            raise
    return servable


def _load(path: Path, settings: LoadSettings) -> SavedModelSession:
    flags = settings.flags
    batching = batching_of(path, flags, settings.batching)
    both = flags.tensorflow_session_parallelism
    options = SessionOptions(
        tags=tuple(flags.saved_model_tags.split(",")),
        intra_op_threads=flags.tensorflow_intra_op_parallelism or both,
        inter_op_threads=flags.tensorflow_inter_op_parallelism or both,
        gpu_memory_fraction=flags.per_process_gpu_memory_fraction,
        config=settings.session_config,
    )
    return SavedModelSession(path, options) if batching is None else BatchedSession(path, options, batching)


def _check_contained(path: Path, base_path: Path) -> None:
    for below in (path, *path.rglob("*")):
        if below.is_symlink() and leads_out(below, base_path):
            raise _refusal(f"{below} is a link that leads out of {base_path}")
    for asset in _assets(path):
        if Path(asset).is_absolute() or ".." in Path(asset).parts:
            raise _refusal(f"{path} names the asset {asset!r}, which is outside of its folder")


def _assets(path: Path) -> list[str]:
    """The file names of the assets that a SavedModel has; none where it cannot be read, which its loader will say."""
    saved_model = saved_model_pb2.SavedModel()
    try:
        if (path / "saved_model.pb").exists():
            saved_model.ParseFromString((path / "saved_model.pb").read_bytes())
        else:
            text_format.Parse((path / "saved_model.pbtxt").read_text("utf-8"), saved_model)
    except (OSError, UnicodeDecodeError, DecodeError, text_format.ParseError):
        return []
    return [name for graph in saved_model.meta_graphs for name in _asset_names(graph)]


def _asset_names(graph: Any) -> Iterator[str]:
    yield from (asset.filename for asset in graph.asset_file_def)
    if "saved_model_assets" in graph.collection_def:  # where TF1's writer lists them
        for packed in graph.collection_def["saved_model_assets"].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            yield asset.filename


def _refusal(message: str) -> ServerError:
    return ServerError(grpc.StatusCode.PERMISSION_DENIED, f"Cannot load {message}.")
