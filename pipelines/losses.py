"""What training minimises: a loss of integer labels and a network's scores."""

from typing import Any, Literal

import keras
from keras import ops

RUBBISH = -1.0
"""The score of LeNet-5's class of rubbish, −j. The paper gives no value of its positive constant j; here it is 1."""


class QuadraticCost(keras.losses.Loss):
    """½ · Σ_k (softmax(scores)_k − [k is the label])², averaged over the batch.

    The quadratic cost of Nielsen's "Neural Networks and Deep Learning", chapter 1, equation 6, with the softmax's
    activations as the network's output. Labels are whole numbers [batch] or
    probabilities [batch, classes], scores float [batch, classes].
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The cost of each example: float32 [batch]."""
        activations = ops.softmax(ops.cast(y_pred, "float32"))
        return 0.5 * ops.sum(ops.square(activations - _desired(y_true, y_pred)), axis=-1)


class MaximumAPosteriori(keras.losses.Loss):
    """y_d + log(exp(−j) + Σ_i exp(−y_i)), averaged over the batch: LeCun et al. 1998, section II.C, equation 9.

    y_i is the penalty of class i, here the score with its sign changed, and d the label. It is the cross-entropy with
    a constant class of rubbish besides: while all penalties are above j, it pulls the right one down whatever the
    others are, which the cross-entropy of distances alone does not. Labels are whole numbers [batch], scores float
    [batch, classes].
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The penalty of each example: float32 [batch]."""
        scores = ops.cast(y_pred, "float32")
        rubbish = ops.full_like(scores[:, :1], RUBBISH)
        every = ops.logsumexp(ops.concatenate([scores, rubbish], axis=-1), axis=-1)
        return every - ops.sum(scores * _desired(y_true, y_pred), axis=-1)


def make_loss(name: Literal["crossentropy", "quadratic", "map"], soft_labels: bool = False) -> keras.losses.Loss:
    """The loss that a recipe names, to be called with labels and scores float32 [batch, classes].

    Labels are int64 [batch]; with `soft_labels` the probability of each class, float32 [batch, classes].
    """
    if name == "crossentropy":
        kind = keras.losses.CategoricalCrossentropy if soft_labels else keras.losses.SparseCategoricalCrossentropy
        return kind(from_logits=True)
    return QuadraticCost(name=name) if name == "quadratic" else MaximumAPosteriori(name=name)


def _desired(labels: Any, scores: Any) -> Any:
    """Labels as probabilities float32 [batch, classes]: one at each label, zero elsewhere; or as they are."""
    if len(labels.shape) == 2 and labels.shape[-1] == scores.shape[-1] > 1:
        return ops.cast(labels, "float32")
    return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), scores.shape[-1])
