"""AlexNet's ideas for images of 32x32 pixels: towers, local response normalisation, overlapping pooling, dropout."""

from functools import partial

from zoo.alexnet import CITATION, towers_network
from zoo.building import SCORES
from zoo.registry import register_model
from zoo.spec import Paper

register_model(
    "alexnet_small",
    paper=Paper(
        CITATION,
        "section 3; its footnote on CIFAR-10 in section 3.3",
        reports=(
            "A four-layer network of the authors has 13 % test error on CIFAR-10 without local response normalisation "
            "and 11 % with it.",
        ),
    ),
    input_shape=(32, 32, 3),
    classes=10,
    layer_parameters={
        "conv1": 4_864,
        "conv2": 51_264,
        "conv3": 73_856,
        "conv4": 73_856,
        "conv5": 73_856,
        "fc6": 295_168,
        "fc7": 65_792,
        "scores": 2_570,
    },
    divergences=(
        "Made for 32x32 pixels: narrower, the first kernels 5x5 with stride 1 and padding in place of 11x11 with "
        "stride 4.",
        "Pixels, less the mean colour of ImageNet, are divided by 127.5 and weights start as he_normal draws them.",
        SCORES,
        "It is not the authors' CIFAR-10 network, which has four layers and no towers.",
    ),
    small={"filters": (8, 16, 16, 16, 16), "dense_units": (16, 16)},
)(
    partial(
        towers_network,
        filters=(64, 64, 128, 128, 128),
        dense_units=(256, 256),
        first_kernel_size=5,
        first_stride=1,
        scale=1 / 127.5,
        initialization="he_normal",
    )
)
