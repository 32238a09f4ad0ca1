"""The mlpconv layer of Network in Network."""

from collections.abc import Sequence
from typing import Any

import keras

from zoo.layers.validation import get_initializer, require_whole


@keras.saving.register_keras_serializable("conv_zoo", "MLPConv2D")
class MLPConv2D(keras.layers.Layer):
    """A small perceptron slid over the image: a convolution, then 1x1 convolutions (Lin et al. 2013, section 3.1).

    Args:
        filters: of the convolution and of each 1x1 convolution after it.
        kernel_size: side of the convolution's kernels, in pixels.
        strides: of the convolution, in pixels.
        padding: of the convolution, "valid" or "same".
        activation: name of a Keras activation, after every convolution, the last included.
        kernel_initializer: of all kernels.

    Input [batch, height, width, maps], output [batch, height, width, filters[-1]].
    """

    def __init__(
        self,
        filters: Sequence[int],
        kernel_size: int,
        strides: int = 1,
        padding: str = "same",
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        require_whole(kernel_size=kernel_size, strides=strides)
        if len(filters) < 2:
            raise ValueError(
                f"`filters` must name the convolution's and at least one 1x1 convolution's. Received: filters={filters}"
            )
        for count in filters:
            require_whole(filters=count)
        super().__init__(**kwargs)
        self.filters = tuple(filters)
        self.kernel_initializer = get_initializer("kernel_initializer", kernel_initializer)
        self.convolutions = [
            keras.layers.Conv2D(
                count,
                kernel_size if i == 0 else 1,
                strides=strides if i == 0 else 1,
                padding=padding if i == 0 else "valid",
                activation=activation,
                # Each its own: an initialiser with a seed draws the same numbers twice.
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=f"convolution{i + 1}",
            )
            for i, count in enumerate(self.filters)
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolutions one after the other."""
        for convolution in self.convolutions:
            convolution.build(input_shape)
            input_shape = convolution.compute_output_shape(input_shape)

    def call(self, inputs: Any) -> Any:
        """Apply the convolutions one after the other."""
        for convolution in self.convolutions:
            inputs = convolution(inputs)
        return inputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As of the convolution, with the last one's filters."""
        return (*self.convolutions[0].compute_output_shape(input_shape)[:-1], self.filters[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        first = self.convolutions[0]
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "kernel_size": first.kernel_size[0],
            "strides": first.strides[0],
            "padding": first.padding,
            "activation": keras.activations.serialize(first.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
