"""LeNet-5's output: the squared distance to a fixed code for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

CODE_ROWS, CODE_COLUMNS = 12, 7
_DRAWN = Path(__file__).with_name("digit_codes.txt")


def digit_codes() -> np.ndarray:
    """The codes of the digits 0 to 9 (LeCun et al. 1998, figure 3): float32 [10, 84] of ±1, 12 rows of 7."""
    rows = [line for line in _DRAWN.read_text("utf-8").splitlines() if line and set(line) <= {"#", "."}]
    pixels = np.array([[1.0 if mark == "#" else -1.0 for mark in row] for row in rows], "float32")
    return pixels.reshape(10, CODE_ROWS * CODE_COLUMNS)


@keras.saving.register_keras_serializable("conv_zoo", "EuclideanRBF")
class EuclideanRBF(keras.layers.Layer):
    """y_i = Σ_j (x_j − w_ij)², the squared distance to each unit's code (LeCun et al. 1998, section II.B, equation 7).

    Args:
        codes: a row for each unit; fixed, so that they are a weight that is saved but not trained: `codes`, float
            [units, features].

    Input [batch, features], output [batch, units], not negative: the smallest marks the class.
    """

    def __init__(self, codes: Sequence[Sequence[float]] | np.ndarray, **kwargs: Any) -> None:
        array = np.asarray(codes, "float32")
        if array.ndim != 2 or not array.size:
            raise ValueError(f"`codes` must be a table [units, features]. Received: codes of shape {array.shape}")
        super().__init__(**kwargs)
        self._initial_codes = array
        self.units = len(array)
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: array.shape[1]})

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Keep the codes with the weights."""
        self.codes = self.add_weight(
            shape=self._initial_codes.shape,
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(self._initial_codes, dtype=dtype),
            trainable=False,
            name="codes",
        )

    def call(self, inputs: Any) -> Any:
        """The squared distances, as the sum of squared differences: exact near a code, where it matters."""
        difference = ops.expand_dims(inputs, 1) - ops.cast(self.codes, inputs.dtype)
        return ops.sum(ops.square(difference), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, units]."""
        return (input_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "codes": self._initial_codes.tolist()}
