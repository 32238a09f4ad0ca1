"""LeNet-5's squashing function."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("conv_zoo", "ScaledTanh")
class ScaledTanh(keras.layers.Layer):
    """amplitude · tanh(slope · x), of any shape (LeCun et al. 1998, appendix A).

    With the defaults f(1) = 1 and f(−1) = −1, and the second derivative is largest there.
    """

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3, **kwargs: Any) -> None:
        if amplitude <= 0 or slope <= 0:
            raise ValueError(
                f"`amplitude` and `slope` must be positive. Received: amplitude={amplitude}, slope={slope}"
            )
        # As another layer's activation it works in that layer's dtype, whatever the global policy was.
        super().__init__(autocast=False, **kwargs)
        self.amplitude = amplitude
        self.slope = slope
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Squash every value."""
        return self.amplitude * ops.tanh(self.slope * inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "amplitude": self.amplitude, "slope": self.slope}
