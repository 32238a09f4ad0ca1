"""Pooling that Keras lacks: by the L2 norm, weighted by the distance from the centre, and trained as in LeNet-5."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.layers.shapes import sides_after
from zoo.layers.validation import require_choice, require_whole


class _Pooling(keras.layers.Layer):
    """Pools windows of [batch, *sides, channels] along `rank` axes; `same` padding is zeros that do not count."""

    rank: int

    def __init__(self, pool_size: int = 2, strides: int | None = None, padding: str = "valid", **kwargs: Any) -> None:
        require_whole(pool_size=pool_size, strides=pool_size if strides is None else strides)
        require_choice("padding", padding, ("valid", "same"))
        super().__init__(**kwargs)
        self.pool_size = (pool_size,) * self.rank
        self.strides = (pool_size if strides is None else strides,) * self.rank
        self.padding = padding
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        """Pool, in float32 inside, for squares and sums overflow half precision."""
        return ops.cast(self._pool(ops.cast(inputs, "float32")), inputs.dtype)

    def _pool(self, inputs: Any) -> Any:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of Keras's pooling with the same window, strides and padding."""
        sides = sides_after(input_shape, self.pool_size[0], self.strides[0], self.padding)
        return (input_shape[0], *sides, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size[0],
            "strides": self.strides[0],
            "padding": self.padding,
        }

    def _window_sums(self, values: Any, weights: np.ndarray) -> Any:
        """The sum over every window of each channel's values times `weights` [*pool_size]."""
        channels = values.shape[-1]
        kernel = np.repeat(weights[..., np.newaxis, np.newaxis], channels, axis=-2).astype("float32")
        options = {"strides": self.strides[0], "padding": self.padding, "data_format": "channels_last"}
        return ops.depthwise_conv(values, ops.convert_to_tensor(kernel, dtype=values.dtype), **options)


class _L2Pooling(_Pooling):
    """sqrt(Σ x²) over each window.

    The square root has no derivative at zero, and ReLU makes windows of nothing but zeros common: their output is zero
    and so is their gradient.

    Input [batch, *sides, channels], output with the sides of Keras's pooling.
    """

    def _pool(self, inputs: Any) -> Any:
        energy = self._window_sums(ops.square(inputs), np.ones(self.pool_size))
        positive = energy > 0
        # Twice `where`: a gradient that is infinite in the branch not taken is NaN in the whole.
        return ops.where(positive, ops.sqrt(ops.where(positive, energy, 1.0)), 0.0)


class _WeightedAveragePooling(_Pooling):
    """The average of each window, weighted by a Gaussian of the distance from the window's centre.

    Goodfellow et al., Deep Learning, section 9.3, names such a pooling without a formula; this is
    w = exp(−d² / (2·sigma²)), d in positions.

    Args:
        sigma: in positions; half the window's side by default.

    Input [batch, *sides, channels], output with the sides of Keras's pooling.
    """

    def __init__(
        self,
        pool_size: int = 2,
        strides: int | None = None,
        padding: str = "valid",
        sigma: float | None = None,
        **kwargs: Any,
    ) -> None:
        if sigma is not None and sigma <= 0:
            raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}")
        super().__init__(pool_size, strides, padding, **kwargs)
        self.sigma = pool_size / 2 if sigma is None else sigma

    def window_weights(self) -> np.ndarray:
        """The weight of each position in a window, before they are made to sum to one: float64 [*pool_size]."""
        axis = np.arange(self.pool_size[0]) - (self.pool_size[0] - 1) / 2
        distances = sum(grid**2 for grid in np.meshgrid(*[axis] * self.rank, indexing="ij"))
        return np.exp(-distances / (2 * self.sigma**2))

    def _pool(self, inputs: Any) -> Any:
        weights = self.window_weights()
        total = self._window_sums(inputs, weights)
        if self.padding == "valid":
            return total / math.fsum(weights.flat)
        # At the border only what lies inside counts.
        return total / self._window_sums(ops.ones_like(inputs[:1, ..., :1]), weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "sigma": self.sigma}


@keras.saving.register_keras_serializable("conv_zoo", "L2Pooling1D")
class L2Pooling1D(_L2Pooling):
    __doc__ = _L2Pooling.__doc__
    rank = 1


@keras.saving.register_keras_serializable("conv_zoo", "L2Pooling2D")
class L2Pooling2D(_L2Pooling):
    __doc__ = _L2Pooling.__doc__
    rank = 2


@keras.saving.register_keras_serializable("conv_zoo", "WeightedAveragePooling1D")
class WeightedAveragePooling1D(_WeightedAveragePooling):
    __doc__ = _WeightedAveragePooling.__doc__
    rank = 1


@keras.saving.register_keras_serializable("conv_zoo", "WeightedAveragePooling2D")
class WeightedAveragePooling2D(_WeightedAveragePooling):
    __doc__ = _WeightedAveragePooling.__doc__
    rank = 2


@keras.saving.register_keras_serializable("conv_zoo", "TrainableSubsampling2D")
class TrainableSubsampling2D(_Pooling):
    """coefficient · (sum of the window) + bias, one of each for every map (LeCun et al. 1998, section II.B: S2 and S4).

    Args:
        pool_size: side of the windows, in pixels; they do not overlap, and what is left over at the border is dropped.
        activation: name of a Keras activation, or None.

    Weights: `coefficient` and `bias`, float [maps]. It starts as average pooling: coefficient 1 / window, bias 0.
    Input [batch, height, width, maps], output [batch, height // size, width // size, maps].
    """

    rank = 2

    def __init__(self, pool_size: int = 2, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(pool_size, None, "valid", **kwargs)  # so that neither comes in by a keyword
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make a coefficient and a bias for each map."""
        maps = (input_shape[-1],)
        start = keras.initializers.Constant(1 / math.prod(self.pool_size))
        self.coefficient = self.add_weight(shape=maps, initializer=start, name="coefficient")
        self.bias = self.add_weight(shape=maps, initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Sum each window, scale, add the bias, apply the activation."""
        sums = self._window_sums(inputs, np.ones(self.pool_size))
        return self.activation(sums * ops.cast(self.coefficient, sums.dtype) + ops.cast(self.bias, sums.dtype))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["strides"], config["padding"]
        return {**config, "activation": keras.activations.serialize(self.activation)}
