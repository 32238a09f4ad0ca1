"""Dropout as its first papers have it."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("conv_zoo", "UnscaledDropout")
class UnscaledDropout(keras.layers.Dropout):
    """Drops in training and leaves the kept values as they are; without training multiplies all by 1 − rate.

    As in Hinton et al. 2012 (section 1 halves the outgoing weights at test time), Krizhevsky et al. 2012 (section 4.2)
    and Nielsen's network3.py. Keras's `Dropout` instead enlarges the kept values by 1 / (1 − rate) in training. The
    expected sums are alike in each; what follows a layer of this kind sees values smaller by 1 − rate.

    Input and output have one shape, whichever.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The values kept, or all of them made smaller."""
        return (1 - self.rate) * super().call(inputs, training=training)
