"""Update rules, each as one fused kernel of TensorFlow for every variable.

Keras composes an update of a dozen elementwise operations, each of which passes over all weights. With dense layers of
a million weights and batches of a hundred images that is a fifth of a training step on a CPU; TensorFlow's fused
kernels, which compute the same, pass once. The state, its names and its place in a file are Keras's.
"""

from typing import Any

import keras
import tensorflow as tf

from pipelines.settings.training import Optimizer


class _Alone(keras.optimizers.Optimizer):
    """Keras adds gradients up over all devices, also where there is one."""

    def _all_reduce_sum_gradients(self, grads_and_vars: list[Any]) -> list[Any]:
        # For which TensorFlow registers a gradient in a list of its own, that keeps the graph of every training there
        # ever was: a search would fill the memory.
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return grads_and_vars
        reduced: list[Any] = super()._all_reduce_sum_gradients(grads_and_vars)
        return reduced


class FusedAdam(_Alone, keras.optimizers.Adam):
    """Keras's Adam (Kingma & Ba 2014), updated by TensorFlow's kernel; `decay` as in `FusedSGD`."""

    def __init__(self, learning_rate: Any, decay: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable in place."""
        _decay(variable, self.decay, learning_rate)
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedSGD(_Alone, keras.optimizers.SGD):
    """Keras's SGD, with (Nesterov) momentum or without, updated by TensorFlow's kernels.

    `decay` is decoupled weight decay: before its update each variable shrinks by decay times the learning rate
    (Loshchilov & Hutter 2019, algorithms 1 and 2).
    """

    def __init__(self, learning_rate: Any, decay: float = 0.0, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable in place."""
        _decay(variable, self.decay, learning_rate)
        rate = tf.cast(learning_rate, variable.dtype)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


def make_optimizer(choice: Optimizer, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The optimizer that a recipe names, with a number or a Keras schedule as its learning rate."""
    if choice.name == "sgd":
        return FusedSGD(learning_rate, choice.weight_decay, momentum=choice.momentum, nesterov=choice.nesterov)
    return FusedAdam(learning_rate, choice.weight_decay, name=choice.name)


def _decay(variable: Any, decay: float, learning_rate: Any) -> None:
    if decay:
        rate = tf.cast(decay * learning_rate, variable.dtype)
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=variable.read_value())
