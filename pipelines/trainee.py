"""A network as it is trained: its own layers, and what the training loss adds to that of the scores."""

from typing import Any

import keras


class Trainee(keras.Model):
    """A network with the loss of its training form.

    The loss of the training examples is that of the scores, plus `auxiliary_weight` times that of each auxiliary
    head, plus `l2` times the sum of all squared kernels (those of convolutions and dense layers; biases and the
    coefficients of trained subsampling are left out). The accuracy, and all that is measured on other examples, is of
    the scores alone: of what will be served.
    """

    def __init__(self, network: keras.Model, auxiliary_weight: float, l2: float) -> None:
        super().__init__(network.input, network.outputs, name=network.name)
        self.auxiliary_weight = auxiliary_weight
        self.l2 = l2

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """A scalar float32."""
        scores, *auxiliary = keras.tree.flatten(y_pred)
        loss = super().compute_loss(x, y, scores, sample_weight, training)
        if not training:
            return loss
        for head in auxiliary:
            loss += self.auxiliary_weight * self.loss(y, head, sample_weight)
        if self.l2:
            kernels = [weight for weight in self.trainable_weights if weight.name == "kernel"]
            loss += self.l2 * sum(keras.ops.sum(keras.ops.square(kernel)) for kernel in kernels)
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The mean of each metric so far."""
        return super().compute_metrics(x, y, keras.tree.flatten(y_pred)[0], sample_weight)
