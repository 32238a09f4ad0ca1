"""LeNet-5 as it is built today: ReLU, max-pooling, dense layers and a softmax in place of what 1998 had.

conv1  5x5    6@28x28        156
conv2  5x5   16@10x10      2,416
dense1      120           48,120
dense2       84           10,164
scores       10              850
                          61,706 parameters
"""

from functools import partial

from zoo.lenet5 import PAPER
from zoo.mnist_cnn import network3
from zoo.registry import register_model
from zoo.spec import Paper

register_model(
    "lenet5_modern",
    paper=Paper(PAPER.citation, PAPER.section),
    input_shape=(28, 28, 1),
    classes=10,
    layer_parameters={"conv1": 156, "conv2": 2_416, "dense1": 48_120, "dense2": 10_164, "scores": 850},
    divergences=(
        "ReLU takes the place of the scaled tanh.",
        "Max-pooling takes the place of trained subsampling.",
        "Every map of the second convolution sees every map of the first.",
        "C5 is a dense layer, which is the same at this size.",
        "The output is a dense layer trained by cross-entropy in place of RBF units with fixed codes.",
        "Pixels are scaled to 0…1 and weights start as he_normal draws them.",
    ),
)(
    partial(
        network3,
        filters=(6, 16),
        dense_units=(120, 84),
        activation="relu",
        padding=2,
        initialization="he_normal",
    )
)
