"""AlexNet's local response normalisation."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("conv_zoo")
class LocalResponseNormalization(keras.layers.Layer):
    """Each activity divided by a power of its neighbours' energy across maps (Krizhevsky et al. 2012, section 3.3).

        b_i = a_i / (k + alpha · Σ a_j²)^beta,   j from i − n/2 to i + n/2, cut off at the first and the last map

    This is the paper's formula. The authors' program cuda-convnet, and Caffe after it, divide alpha by n: for theirs,
    give alpha / n.

    Args:
        k: keeps the divisor away from zero.
        n: neighbouring maps in the sum, the map itself included; odd.
        alpha: weight of the sum.
        beta: exponent.

    Input and output [batch, height, width, maps].
    """

    def __init__(self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        if n < 1 or n % 2 == 0:
            raise ValueError(f"`n` must be odd and positive, so that a map has a middle. Received: n={n}")
        if k <= 0 or alpha < 0:
            raise ValueError(f"`k` must be positive and `alpha` not negative. Received: k={k}, alpha={alpha}")
        super().__init__(**kwargs)
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalise."""
        maps, reach = inputs.shape[-1], self.n // 2
        # In float32, for squares of pixels overflow half precision.
        energy = ops.square(ops.cast(inputs, "float32"))
        padded = ops.pad(energy, [[0, 0]] * (len(inputs.shape) - 1) + [[reach, reach]])
        total = sum(padded[..., first : first + maps] for first in range(self.n))
        divisor = ops.power(self.k + self.alpha * total, self.beta)
        return ops.cast(ops.cast(inputs, "float32") / divisor, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "k": self.k, "n": self.n, "alpha": self.alpha, "beta": self.beta}
