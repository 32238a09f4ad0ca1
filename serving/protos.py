"""TensorFlow Serving's protocol messages, imported without TensorFlow.

`tensorflow_serving.apis.*` import `tensorflow.core.framework.*_pb2`, and Python runs TensorFlow's `__init__` on the
way: 4 to 7 seconds that a client has no use for. While the messages are imported, a stub package that has only a
`__path__` stands in for `tensorflow`; afterwards it is taken away again, so that a later `import tensorflow` gets the
real one (both share the message classes).
"""

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _tensorflow_stub() -> Iterator[None]:
    if "tensorflow" in sys.modules:
        yield
        return
    spec = importlib.machinery.PathFinder.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("The package tensorflow is not installed; run `make setup`.")
    stub = types.ModuleType("tensorflow")
    stub.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = stub
    try:
        yield
    finally:
        # Only the stub itself goes: its protobuf sub-modules are the real ones and must be loaded once only.
        del sys.modules["tensorflow"]
        for name in [name for name, module in sys.modules.items() if _is_empty_package(name, module)]:
            del sys.modules[name]


def _is_empty_package(name: str, module: types.ModuleType) -> bool:
    """A namespace package below `tensorflow` that was made only to reach the messages."""
    return name.startswith("tensorflow.") and not name.endswith("_pb2") and hasattr(module, "__path__")


with _tensorflow_stub():
    from tensorflow.core.example import example_pb2
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        model_service_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_log_pb2,
        prediction_service_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )
    from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

__all__ = [
    "classification_pb2",
    "config_pb2",
    "example_pb2",
    "file_system_storage_path_source_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "model_service_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_log_pb2",
    "prediction_service_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
    "saved_model_pb2",
    "tensor_pb2",
    "tensor_shape_pb2",
    "types_pb2",
]
