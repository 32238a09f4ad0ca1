"""Convolution in towers that do not see each other: AlexNet's conv2, conv4 and conv5."""

from typing import Any

import keras
from keras import activations, initializers, ops

from zoo.layers.shapes import sides_after
from zoo.layers.validation import get_initializer, require_choice, require_room, require_whole


@keras.saving.register_keras_serializable("conv_zoo", "TowerConv2D")
class TowerConv2D(keras.layers.Layer):
    """Convolution whose filters see only the maps of their own tower (Krizhevsky et al. 2012, section 3.5).

    The input's maps and the filters are cut into `towers` equal parts, in order: grouped convolution. It is computed
    tower by tower, because TensorFlow has no gradient of a grouped convolution on a CPU.

    Args:
        filters: of all towers together; a multiple of `towers`.
        kernel_size: side of the kernels, in pixels.
        towers: number of parts.
        strides: in pixels.
        padding: "valid" or "same".
        activation: name of a Keras activation, or None.
        kernel_initializer: of `kernel`, float [size, size, input maps / towers, filters].
        bias_initializer: of `bias`, float [filters].

    Input [batch, height, width, maps], output [batch, height, width, filters].
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        towers: int = 2,
        strides: int = 1,
        padding: str = "valid",
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        require_whole(filters=filters, kernel_size=kernel_size, towers=towers, strides=strides)
        require_choice("padding", padding, ("valid", "same"))
        if filters % towers:
            raise ValueError(f"`filters` must be a multiple of `towers`. Received: filters={filters}, towers={towers}")
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = (kernel_size, kernel_size)
        self.towers = towers
        self.strides = (strides, strides)
        self.padding = padding
        self.activation = activations.get(activation)
        self.kernel_initializer = get_initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = get_initializer("bias_initializer", bias_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernels of all towers, one after the other along the last axis, and the biases."""
        require_room(self.kernel_size, self.padding, input_shape)
        maps = input_shape[-1]
        if maps is None or maps % self.towers:
            raise ValueError(
                f"The input's {maps} maps cannot be shared among {self.towers} towers. Received: {input_shape=}"
            )
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, maps // self.towers, self.filters),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer=self.bias_initializer, name="bias")

    def call(self, inputs: Any) -> Any:
        """Convolve each tower's maps with its own filters, add the biases, apply the activation."""
        kernel = ops.cast(self.kernel, self.compute_dtype)
        options = {"strides": self.strides, "padding": self.padding, "data_format": "channels_last"}
        pairs = zip(ops.split(inputs, self.towers, axis=-1), ops.split(kernel, self.towers, axis=-1), strict=True)
        outputs = ops.concatenate([ops.conv(maps, filters, **options) for maps, filters in pairs], axis=-1)
        return self.activation(outputs + ops.cast(self.bias, outputs.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of an ordinary convolution with the same filters, strides and padding."""
        sides = sides_after(input_shape, self.kernel_size[0], self.strides[0], self.padding)
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size[0],
            "towers": self.towers,
            "strides": self.strides[0],
            "padding": self.padding,
            "activation": activations.serialize(self.activation),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }
