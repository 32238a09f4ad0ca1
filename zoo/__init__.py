"""Conv Zoo: the classic convolutional networks, faithful to their papers, on Keras 3.

    import zoo
    model = zoo.create_model("mnist_cnn_relu")

Every network takes raw pixels 0…255 (float32, [batch, height, width, channels]) and returns one score per class;
`speech_conv1d` takes a signal.
"""

import importlib

from zoo.anatomy import features
from zoo.registry import create_model, get_spec, list_models, register_model, serving_form
from zoo.spec import ModelSpec, Paper, ZooError

# Importing a network's file registers it; in this order they are listed.
for _file in (
    "mnist_cnn",
    "lenet5",
    "lenet5_modern",
    "alexnet",
    "alexnet_small",
    "inception_v1",
    "inception_v1_small",
    "network_in_network",
    "speech_conv1d",
):
    importlib.import_module(f"zoo.{_file}")

__all__ = [
    "ModelSpec",
    "Paper",
    "ZooError",
    "create_model",
    "features",
    "get_spec",
    "list_models",
    "register_model",
    "serving_form",
]
