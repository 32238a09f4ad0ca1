"""Conv Zoo: the classic convolutional networks, faithful to their papers, on Keras 3.

    import zoo
    model = zoo.create_model("mnist_cnn_relu")

Every network takes raw pixels 0…255 (float32, [batch, height, width, channels]) and returns one score per class.
"""

from zoo import mnist_cnn as _mnist_cnn  # noqa: F401  (importing a network's file registers it)
from zoo.registry import ModelSpec, Paper, ZooError, create_model, get_spec, list_models, register_model

__all__ = ["ModelSpec", "Paper", "ZooError", "create_model", "get_spec", "list_models", "register_model"]
