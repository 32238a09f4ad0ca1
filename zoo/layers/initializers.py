"""How LeNet-5's weights start."""

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable("conv_zoo", "FanInUniform")
class FanInUniform(keras.initializers.Initializer):
    """Uniform from −limit / F to limit / F, F the inputs of a unit (LeCun et al. 1998, appendix A).

    F is the product of all sides of the weight's shape but the last.
    """

    def __init__(self, limit: float = 2.4) -> None:
        if limit <= 0:
            raise ValueError(f"`limit` must be positive. Received: limit={limit}")
        self.limit = limit

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Draw a weight of this shape."""
        bound = self.limit / math.prod(shape[:-1])
        return keras.random.uniform(shape, -bound, bound, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"limit": self.limit}
