"""From a version's folder to a warmed-up servable. Imports TensorFlow, so it is imported late."""

from pathlib import Path

from serving.model_server.flags import Flags
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signatures import Servable
from serving.model_server.warmup import warm_up


def load_servable(path: Path, flags: Flags) -> Servable:
    """Loads the SavedModel in `path` and replays its warm-up requests; raises ServerError if either fails."""
    both = flags.tensorflow_session_parallelism
    options = SessionOptions(
        tags=tuple(flags.saved_model_tags.split(",")),
        intra_op_threads=flags.tensorflow_intra_op_parallelism or both,
        inter_op_threads=flags.tensorflow_inter_op_parallelism or both,
        gpu_memory_fraction=flags.per_process_gpu_memory_fraction,
    )
    servable = Servable(SavedModelSession(path, options))
    if flags.enable_model_warmup:
        try:
            warm_up(servable, path, flags.num_request_iterations_for_warmup)
        except BaseException:
            servable.close()
            raise
    return servable
