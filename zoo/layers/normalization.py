"""AlexNet's local response normalisation."""

from typing import Any

import keras
from keras import ops

from zoo.layers.validation import require_whole


@keras.saving.register_keras_serializable("conv_zoo", "LocalResponseNormalization")
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
        towers: equal parts of the maps, in order, over whose seams no sum reaches.

    Input and output [batch, height, width, maps].
    """

    def __init__(
        self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, towers: int = 1, **kwargs: Any
    ) -> None:
        require_whole(n=n, towers=towers)
        if n % 2 == 0:
            raise ValueError(f"`n` must be odd, so that a map has a middle. Received: n={n}")
        if k <= 0 or alpha < 0:
            raise ValueError(f"`k` must be positive and `alpha` not negative. Received: k={k}, alpha={alpha}")
        super().__init__(**kwargs)
        self.k, self.n, self.alpha, self.beta, self.towers = k, n, alpha, beta, towers

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the maps can be shared among the towers."""
        if input_shape[-1] is None or input_shape[-1] % self.towers:
            raise ValueError(
                f"The input's {input_shape[-1]} maps cannot be shared among {self.towers} towers. "
                f"Received: {input_shape=}"
            )

    def call(self, inputs: Any) -> Any:
        """Normalise."""
        reach = self.n // 2
        # In float32, for squares of pixels overflow half precision.
        towers = ops.split(ops.square(ops.cast(inputs, "float32")), self.towers, axis=-1)
        totals = []
        for energy in towers:
            padded = ops.pad(energy, [[0, 0]] * (len(energy.shape) - 1) + [[reach, reach]])
            totals.append(sum(padded[..., first : first + energy.shape[-1]] for first in range(self.n)))
        total = ops.concatenate(totals, axis=-1)
        divisor = ops.power(self.k + self.alpha * total, self.beta)
        return ops.cast(ops.cast(inputs, "float32") / divisor, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"k": self.k, "n": self.n, "alpha": self.alpha, "beta": self.beta, "towers": self.towers}
        return {**super().get_config(), **own}
