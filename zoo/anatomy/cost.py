"""What a layer costs: connections, multiplications and additions of one example's forward pass, at inference.

A **connection** joins one input value, or the bias, to one output value, as LeCun et al. 1998 count them: a convolution
has outputs · (taps + 1), a dense layer outputs · (inputs + 1), a pooling outputs · window, LeNet-5's subsampling
outputs · (window + 1), an RBF layer units · inputs. A local response normalisation joins n maps to each value. Layers
that treat every value by itself (activations, scaling, batch normalisation, dropout), move values (padding, flattening,
concatenating) or add branches have no connections of their own.

**Multiplications** (divisions among them) and **additions** (subtractions among them) are those of the formula as it is
written:

    convolution, dense        taps per output; as many additions with a bias, one fewer without
    average pooling           1 and window − 1 per output; weighted: window and window − 1
    L2 pooling                window squares and window − 1 per output
    trainable subsampling     1 and window per output
    Euclidean RBF             inputs squares and 2 · inputs − 1 per unit
    response normalisation    3 and n per value: square, alpha, divide; n − 1 for the sum and 1 for k
    scaling, batch norm       1 and 1 per value: constants are folded; a scale of 1 or −1 or an offset of 0: nothing
    unscaled dropout          1 per value
    sum of branches           branches − 1 additions per value

Comparisons (max pooling, ReLU), exponentials, powers and roots are not arithmetic in this sense, so that no activation
counts, whatever its formula. Positions in the padding of `padding="same"`, and the maps that a response normalisation
lacks at either end, count as if they were real: the usual convention.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers

from zoo.layers import (
    EuclideanRBF,
    L2Pooling1D,
    L2Pooling2D,
    LocalResponseNormalization,
    MLPConv2D,
    PartiallyConnectedConv2D,
    ScaledTanh,
    TowerConv2D,
    TrainableSubsampling2D,
    UnscaledDropout,
    WeightedAveragePooling1D,
    WeightedAveragePooling2D,
)
from zoo.spec import ZooError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What one example costs in one layer."""

    connections: int = 0
    multiplications: int = 0
    additions: int = 0


CostRule = Callable[[Any, tuple[Shape, ...], Shape], Cost]


@functools.singledispatch
def cost(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    """The cost of a layer whose inputs and output have these shapes, without the batch.

    Raises ZooError for a layer of an unknown kind.
    """
    kind = type(layer).__name__
    raise ZooError(f"No rule says what '{layer.name}' of kind {kind} costs; register one with @register_cost({kind}).")


def register_cost(*kinds: type) -> Callable[[CostRule], CostRule]:
    """Register a rule for kinds of layers: a function (layer, input shapes, output shape) → `Cost`.

    Shapes are without the batch; the layer is built. A subclass follows its parent's rule unless it has its own.
    """

    def register(rule: CostRule) -> CostRule:
        for kind in kinds:
            cost.register(kind, rule)
        return rule

    return register


def has_bias(layer: Any) -> bool:
    """Whether a convolution or dense layer adds a bias."""
    return getattr(layer, "use_bias", True)


def _weighted_sums(outputs: int, terms: int, bias: bool) -> Cost:
    """Of `outputs` values that are each a weighted sum of `terms`, and of a bias."""
    return Cost(outputs * (terms + bias), outputs * terms, outputs * (terms - 1 + bias))


@register_cost(layers.Conv1D, layers.Conv2D, layers.Dense, TowerConv2D)
def _convolution(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return _weighted_sums(math.prod(output), math.prod(layer.kernel.shape[:-1]), has_bias(layer))


@register_cost(PartiallyConnectedConv2D)
def _partially_connected(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    positions, taps = math.prod(output[:-1]), math.prod(layer.kernel_size)
    maps = [_weighted_sums(positions, taps * len(seen), True) for seen in layer.table]
    return _sum(maps)


@register_cost(MLPConv2D)
def _mlpconv(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    costs, shape = [], inputs[0]
    for convolution in layer.convolutions:
        given, shape = shape, convolution.compute_output_shape((1, *shape))[1:]
        costs.append(cost(convolution, (given,), shape))
    return _sum(costs)


@register_cost(layers.MaxPooling1D, layers.MaxPooling2D)
def _max_pooling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost(connections=math.prod(output) * math.prod(layer.pool_size))


@register_cost(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)
def _global_max_pooling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost(connections=math.prod(inputs[0]))


@register_cost(layers.AveragePooling1D, layers.AveragePooling2D)
def _average_pooling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return _average(math.prod(output), math.prod(layer.pool_size))


@register_cost(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)
def _global_average_pooling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return _average(math.prod(output), math.prod(inputs[0][:-1]))


def _average(outputs: int, window: int) -> Cost:
    return Cost(outputs * window, outputs, outputs * (window - 1))


@register_cost(L2Pooling1D, L2Pooling2D, WeightedAveragePooling1D, WeightedAveragePooling2D)
def _weighted_pooling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return _weighted_sums(math.prod(output), math.prod(layer.pool_size), False)


@register_cost(TrainableSubsampling2D)
def _subsampling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    outputs, window = math.prod(output), math.prod(layer.pool_size)
    return Cost(outputs * (window + 1), outputs, outputs * window)


@register_cost(EuclideanRBF)
def _rbf(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    units, features = layer.codes.shape
    return Cost(units * features, units * features, units * (2 * features - 1))


@register_cost(LocalResponseNormalization)
def _response_normalization(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    values = math.prod(output)
    return Cost(values * layer.n, values * 3, values * layer.n)


@register_cost(layers.Rescaling)
def _rescaling(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    values = math.prod(output)
    scaled, shifted = bool(np.any(np.abs(layer.scale) != 1)), bool(np.any(layer.offset))
    return Cost(multiplications=values * scaled, additions=values * shifted)


@register_cost(UnscaledDropout)
def _unscaled_dropout(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost(multiplications=math.prod(output))


@register_cost(layers.Normalization, layers.BatchNormalization)
def _normalization(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost(multiplications=math.prod(output), additions=math.prod(output))


@register_cost(layers.Add)
def _branches_added(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost(additions=math.prod(output) * (len(inputs) - 1))


@register_cost(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax, ScaledTanh)
@register_cost(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.GaussianNoise, layers.Identity)
def _value_by_value(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost()


@register_cost(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Flatten, layers.Reshape, layers.Concatenate)
def _moves_values(layer: Any, inputs: tuple[Shape, ...], output: Shape) -> Cost:
    return Cost()


def _sum(costs: list[Cost]) -> Cost:
    return Cost(
        sum(c.connections for c in costs), sum(c.multiplications for c in costs), sum(c.additions for c in costs)
    )
