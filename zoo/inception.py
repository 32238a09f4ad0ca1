"""The Inception module (Szegedy et al. 2014, figure 2), naive and with dimension reductions."""

from typing import Any, Literal

from keras import layers

from zoo.building import pool
from zoo.spec import ZooError

CITATION = "Szegedy, C. et al. Going Deeper with Convolutions. CVPR 2015 (arXiv:1409.4842, 2014)"

Module = Literal["naive", "reduced"]
FILTERS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


def inception_module(
    x: Any, filters: tuple[int, ...], *, module: Module, name: str, pooling: str = "max", initialization: Any
) -> Any:
    """The Inception module (figure 2): 1x1, 3x3 and 5x5 convolutions and a 3x3 pooling side by side, concatenated.

    Args:
        x: [batch, height, width, maps].
        filters: of the 1x1, 3x3 reduce, 3x3, 5x5 reduce and 5x5 convolution and the pool projection.
        module: 'naive' (figure 2a), which leaves reductions and projection out, or 'reduced' (figure 2b), with 1x1
            convolutions before the 3x3 and 5x5 ones and after the pooling.

    Returns [batch, height, width, maps], the maps of the four branches; 'naive' keeps all of the input's in the fourth.
    """
    if module not in ("naive", "reduced"):
        raise ZooError(f"module is '{module}' in {name}; expected naive or reduced.")
    ones, reduce3, threes, reduce5, fives, projection = filters

    def conv(x: Any, count: int, kernel_size: int, branch: str) -> Any:
        return convolution(x, count, kernel_size, f"{name}_{branch}", initialization)

    reduced = module == "reduced"
    branches = [
        conv(x, ones, 1, "1x1"),
        conv(conv(x, reduce3, 1, "3x3_reduce") if reduced else x, threes, 3, "3x3"),
        conv(conv(x, reduce5, 1, "5x5_reduce") if reduced else x, fives, 5, "5x5"),
    ]
    pooled = pool(x, pooling, 3, 1, padding="same", name=f"{name}_pool")
    branches.append(conv(pooled, projection, 1, "pool_projection") if reduced else pooled)
    return layers.Concatenate(name=name)(branches)


def convolution(x: Any, count: int, kernel_size: int, name: str, initialization: Any, strides: int = 1) -> Any:
    """A convolution with ReLU that keeps the sides of [batch, height, width, maps], divided by its strides."""
    options = {"padding": "same", "activation": "relu", "kernel_initializer": initialization, "name": name}
    return layers.Conv2D(count, kernel_size, strides=strides, **options)(x)


def scaled(width: float, *counts: int) -> tuple[int, ...]:
    """Numbers of filters times `width`, rounded, 1 at least."""
    return tuple(max(1, round(width * count)) for count in counts)
