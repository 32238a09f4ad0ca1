"""The layers that the classics need and Keras lacks. They run on any Keras backend."""

from zoo.layers.activations import ScaledTanh
from zoo.layers.dropout import UnscaledDropout
from zoo.layers.initializers import FanInUniform
from zoo.layers.mlpconv import MLPConv2D
from zoo.layers.normalization import LocalResponseNormalization
from zoo.layers.partially_connected import PartiallyConnectedConv2D
from zoo.layers.pooling import (
    L2Pooling1D,
    L2Pooling2D,
    TrainableSubsampling2D,
    WeightedAveragePooling1D,
    WeightedAveragePooling2D,
)
from zoo.layers.rbf import EuclideanRBF, digit_codes
from zoo.layers.towers import TowerConv2D

__all__ = [
    "EuclideanRBF",
    "FanInUniform",
    "L2Pooling1D",
    "L2Pooling2D",
    "LocalResponseNormalization",
    "MLPConv2D",
    "PartiallyConnectedConv2D",
    "ScaledTanh",
    "TowerConv2D",
    "TrainableSubsampling2D",
    "UnscaledDropout",
    "WeightedAveragePooling1D",
    "WeightedAveragePooling2D",
    "digit_codes",
]
