"""Convolution whose output maps see only some of the input maps: LeNet-5's C3."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import activations, initializers, ops

from zoo.layers.shapes import sides_after
from zoo.layers.validation import get_initializer, require_room, require_whole


@keras.saving.register_keras_serializable("conv_zoo", "PartiallyConnectedConv2D")
class PartiallyConnectedConv2D(keras.layers.Layer):
    """Valid convolution, stride 1, by a table of connections (LeCun et al. 1998, section II.B and table I).

    Args:
        table: for every output map the indices of the input maps that it sees.
        kernel_size: side of the kernels, in pixels.
        activation: name of a Keras activation, or None.
        kernel_initializer: of `kernel`, float [size, size, pairs], one kernel for each pair of maps in the table, one
            output map after the other. Each output map draws its own, as of a convolution of its own inputs.
        bias_initializer: of `bias`, float [output maps].

    Input [batch, height, width, maps], output [batch, height − size + 1, width − size + 1, len(table)].
    """

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        if not table or not all(table) or any(len(set(row)) != len(row) or min(row) < 0 for row in table):
            raise ValueError(
                "`table` must list, for each output map, one or more different indices of input maps. "
                f"Received: table={table}"
            )
        require_whole(kernel_size=kernel_size)
        super().__init__(**kwargs)
        self.table = tuple(tuple(int(i) for i in row) for row in table)
        self.kernel_size = (kernel_size, kernel_size)
        self.activation = activations.get(activation)
        self.kernel_initializer = get_initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = get_initializer("bias_initializer", bias_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make one kernel for each pair of connected maps and one bias for each output map."""
        require_room(self.kernel_size, "valid", input_shape)
        maps, pairs = input_shape[-1], [(i, o) for o, row in enumerate(self.table) for i in row]
        if maps is None or max(i for i, _ in pairs) >= maps:
            raise ValueError(
                f"The input has {maps} maps, fewer than the table names. Received: input_shape={input_shape}"
            )
        shape = (*self.kernel_size, len(pairs))
        self.kernel = self.add_weight(shape=shape, initializer=self._draw_kernels, name="kernel")
        self.bias = self.add_weight(shape=(len(self.table),), initializer=self.bias_initializer, name="bias")
        # Puts each pair's kernel at its place among all pairs of maps; the others stay zero and have no weight.
        self._places = np.zeros((len(pairs), maps * len(self.table)), "float32")
        for row, (i, o) in enumerate(pairs):
            self._places[row, i * len(self.table) + o] = 1.0

    def _draw_kernels(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Kernels drawn map by map, or the initialiser would take the shape's 25 for the inputs of a unit."""
        maps = []
        for row in self.table:
            # A clone each, for an initialiser draws the same numbers every time.
            drawn = self.kernel_initializer.clone()((*self.kernel_size, len(row), 1), dtype=dtype)
            maps.append(ops.squeeze(drawn, axis=-1))
        return ops.concatenate(maps, axis=-1)

    def full_kernel(self) -> Any:
        """The kernel of the ordinary convolution that computes the same: [size, size, input maps, output maps]."""
        places = ops.convert_to_tensor(self._places, dtype=self.compute_dtype)
        full = ops.matmul(ops.cast(self.kernel, self.compute_dtype), places)
        return ops.reshape(full, (*self.kernel_size, -1, len(self.table)))

    def call(self, inputs: Any) -> Any:
        """Convolve, add the biases, apply the activation."""
        outputs = ops.conv(inputs, self.full_kernel(), padding="valid", data_format="channels_last")
        return self.activation(outputs + ops.cast(self.bias, outputs.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, height − size + 1, width − size + 1, output maps]."""
        return (input_shape[0], *sides_after(input_shape, self.kernel_size[0]), len(self.table))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "table": [list(row) for row in self.table],
            "kernel_size": self.kernel_size[0],
            "activation": activations.serialize(self.activation),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
