"""Back-propagation as derived in the texts, written out and compared with what automatic differentiation finds.

The network is conv – pool – conv – pool – dense – softmax, the zoo's own; the cost of n examples is the quadratic one
with an L2 term (Nielsen, Neural Networks and Deep Learning, chapters 2 and 3):

    C = 1/2n Σ_x ‖a(x) − y(x)‖² + λ/2n Σ_w w²

Each layer computes z from the activations before it, and a = σ(z). With δ = ∂C/∂z the derivatives of a layer's weights
are sums of products of its inputs and its δ, and the δ of the layer before follows from this one's: that is all of
back-propagation. Everything here is NumPy in float64; arrays are [n, height, width, maps] and [n, units].
"""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import ops

import zoo

LAMBDA = 0.3
CLASSES = 3
WEIGHTED = ("conv1", "conv2", "dense1", "scores")

SIGMA = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "relu": lambda z: np.maximum(z, 0)}
SIGMA_PRIME = {
    "sigmoid": lambda z: SIGMA["sigmoid"](z) * (1 - SIGMA["sigmoid"](z)),
    "relu": lambda z: (z > 0).astype(float),
}


# The layers, forwards.


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def convolve(x, w):
    """z[i, j] = Σ_ab x[i + a, j + b] · w[a, b], a sum over the input's maps in each product."""
    kernel_height, kernel_width = w.shape[:2]
    height, width = x.shape[1] - kernel_height + 1, x.shape[2] - kernel_width + 1
    z = np.zeros((len(x), height, width, w.shape[3]))
    for a in range(kernel_height):
        for b in range(kernel_width):
            z += x[:, a : a + height, b : b + width] @ w[a, b]
    return z


def pool(a, kind):
    """The largest, or the average, of each 2x2 window of a with even sides."""
    windows = np.stack([a[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    return windows.max(axis=0) if kind == "max" else windows.mean(axis=0)


# The recursion: from the δ of a layer to the derivatives of its weights, and to the layer before it.


def softmax_delta(a, y):
    """δ of the softmax layer: Σ_k ∂C/∂a_k · ∂a_k/∂z_j, and ∂a_k/∂z_j = a_k · ([j = k] − a_j)."""
    from_cost = (a - y) / len(y)
    return a * (from_cost - (from_cost * a).sum(axis=1, keepdims=True))


def dense_weights(a_before, delta):
    """∂C/∂w_jk = Σ_x a_j δ_k and ∂C/∂b_k = Σ_x δ_k."""
    return a_before.T @ delta, delta.sum(axis=0)


def dense_back(w, delta):
    """∂C/∂a_before: wδ, the transposed matrix where w is written [outputs, inputs] as in the text."""
    return delta @ w.T


def convolution_weights(a_before, delta, kernel_size):
    """∂C/∂w[a, b] = Σ_ij a_before[i + a, j + b] · δ[i, j]: the input correlated with δ; and ∂C/∂b = Σ_ij δ[i, j]."""
    height, width = delta.shape[1:3]
    dw = np.zeros((*kernel_size, a_before.shape[3], delta.shape[3]))
    for a in range(kernel_size[0]):
        for b in range(kernel_size[1]):
            dw[a, b] = np.einsum("nijc,nijf->cf", a_before[:, a : a + height, b : b + width], delta)
    return dw, delta.sum(axis=(0, 1, 2))


def convolution_back(w, delta):
    """∂C/∂a_before: the full convolution of δ, edged with zeros, with the kernel turned by 180 degrees."""
    edge = [(w.shape[0] - 1,) * 2, (w.shape[1] - 1,) * 2]
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)  # its inputs are now the maps that were its outputs
    return convolve(np.pad(delta, [(0, 0), *edge, (0, 0)]), flipped)


def pool_back(a, pooled, from_pooled, kind):
    """∂C/∂a: max-pooling hands everything to the winner of a window, average pooling a quarter to each of the four.

    Where several of a window are largest, all of them would win; it happens to ReLU's zeros, whose σ' is zero.
    """
    from_a = np.zeros_like(a)
    for i in (0, 1):
        for j in (0, 1):
            share = a[:, i::2, j::2] == pooled if kind == "max" else 1 / 4
            from_a[:, i::2, j::2] = share * from_pooled
    return from_a


# The network, there and back.


@dataclass(frozen=True)
class Network:
    activation: str
    pooling: str
    weights: dict
    """(w, b) of each layer."""

    def forward(self, images):
        """Every z and a by its name."""
        sigma, v = SIGMA[self.activation], {"a0": images / 255}
        v["z1"] = convolve(v["a0"], self.weights["conv1"][0]) + self.weights["conv1"][1]
        v["a1"] = sigma(v["z1"])
        v["p1"] = pool(v["a1"], self.pooling)
        v["z2"] = convolve(v["p1"], self.weights["conv2"][0]) + self.weights["conv2"][1]
        v["a2"] = sigma(v["z2"])
        v["p2"] = pool(v["a2"], self.pooling)
        v["flat"] = v["p2"].reshape(len(images), -1)
        v["z3"] = v["flat"] @ self.weights["dense1"][0] + self.weights["dense1"][1]
        v["a3"] = sigma(v["z3"])
        v["z4"] = v["a3"] @ self.weights["scores"][0] + self.weights["scores"][1]
        v["a4"] = softmax(v["z4"])
        return v

    def cost(self, images, y):
        error = ((self.forward(images)["a4"] - y) ** 2).sum()
        return (error + LAMBDA * sum((w**2).sum() for w, _ in self.weights.values())) / (2 * len(y))

    def derivatives(self, images, y, decay=LAMBDA):
        """(∂C/∂w, ∂C/∂b) of each layer, by the recursion."""
        v, sigma_prime = self.forward(images), SIGMA_PRIME[self.activation]
        d4 = softmax_delta(v["a4"], y)
        d3 = dense_back(self.weights["scores"][0], d4) * sigma_prime(v["z3"])
        from_p2 = dense_back(self.weights["dense1"][0], d3).reshape(v["p2"].shape)
        d2 = pool_back(v["a2"], v["p2"], from_p2, self.pooling) * sigma_prime(v["z2"])
        from_p1 = convolution_back(self.weights["conv2"][0], d2)
        d1 = pool_back(v["a1"], v["p1"], from_p1, self.pooling) * sigma_prime(v["z1"])
        found = {
            "conv1": convolution_weights(v["a0"], d1, self.weights["conv1"][0].shape[:2]),
            "conv2": convolution_weights(v["p1"], d2, self.weights["conv2"][0].shape[:2]),
            "dense1": dense_weights(v["flat"], d3),
            "scores": dense_weights(v["a3"], d4),
        }
        return {name: (dw + decay / len(y) * self.weights[name][0], db) for name, (dw, db) in found.items()}


# The same of the zoo's network, by automatic differentiation.


def keras_cost(scores, weights, y, decay=LAMBDA):
    """The cost as Keras computes it; `weights` are the variables in the model's order, biases among them."""
    squares = sum(ops.sum(ops.square(w)) for w in weights if len(w.shape) > 1)
    return (ops.sum(ops.square(ops.softmax(scores) - y)) + decay * squares) / (2 * len(y))


def autodiff(model, images, cost):
    """(gradient of w, of b) of each layer, by the backend that Keras runs on."""
    if keras.backend.backend() == "jax":
        import jax

        fixed = [v.value for v in model.non_trainable_variables]

        def of_weights(weights):
            return cost(model.stateless_call(weights, fixed, images)[0], weights)

        gradients = jax.grad(of_weights)([v.value for v in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = cost(model(images), model.trainable_variables)
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
    arrays = iter(ops.convert_to_numpy(g) for g in gradients)
    return {name: (next(arrays), next(arrays)) for name in WEIGHTED}


def weights_of(model):
    return {name: [w.astype("float64") for w in model.get_layer(name).get_weights()] for name in WEIGHTED}


@pytest.fixture(params=[("sigmoid", "max"), ("sigmoid", "average"), ("relu", "max"), ("relu", "average")], ids="-".join)
def case(request):
    """(the zoo's network, the same one in NumPy, images, classes one-hot)."""
    activation, pooling = request.param
    model = zoo.create_model(
        "mnist_cnn_conv2",
        input_shape=(16, 20, 2),
        classes=CLASSES,
        filters=(3, 4),
        dense_units=(6,),
        activation=activation,
        pooling=pooling,
    )
    rng = np.random.default_rng(5)
    for name in WEIGHTED:  # the same on every backend
        kernel, bias = model.get_layer(name).get_weights()
        spread = np.prod(kernel.shape[:-1]) ** -0.5
        model.get_layer(name).set_weights([rng.normal(0, spread, kernel.shape), rng.normal(0, 0.3, bias.shape)])
    images = rng.uniform(0, 255, (5, 16, 20, 2)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[[0, 1, 2, 1, 0]]
    return model, Network(activation, pooling, weights_of(model)), images, y


def test_the_written_network_is_the_zoos(case):
    model, network, images, y = case
    scores = model(images)
    np.testing.assert_allclose(network.forward(images)["z4"], scores, rtol=1e-4, atol=1e-5)
    assert network.cost(images, y) == pytest.approx(float(keras_cost(scores, model.trainable_variables, y)), rel=1e-5)


def test_the_recursion_equals_automatic_differentiation(case):
    model, network, images, y = case
    automatic = autodiff(model, images, lambda scores, weights: keras_cost(scores, weights, y))
    for name, derivatives in network.derivatives(images, y).items():
        for ours, theirs in zip(derivatives, automatic[name], strict=True):
            assert np.abs(ours).max() > 1e-4, name
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(ours).max(), err_msg=name)


def test_the_recursion_equals_finite_differences_of_the_cost(case):
    """So that recursion and automatic differentiation are not wrong together."""
    _, network, images, y = case
    derivatives, step = network.derivatives(images, y), 1e-6
    rng = np.random.default_rng(7)
    for name, arrays in network.weights.items():
        for array, derivative in zip(arrays, derivatives[name], strict=True):
            for i in rng.choice(array.size, min(8, array.size), replace=False):
                at, kept = np.unravel_index(i, array.shape), array.flat[i]
                array[at] = kept + step
                above = network.cost(images, y)
                array[at] = kept - step
                below = network.cost(images, y)
                array[at] = kept
                assert derivative[at] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-9), (name, at)


def test_behind_a_softmax_layer_at_zero_nothing_learns_in_the_first_step():
    """network3's start: δ is handed back through the weights of the softmax layer, and these are zero."""
    keras.utils.set_random_seed(4)
    arguments = {"input_shape": (16, 16, 1), "classes": CLASSES, "filters": (2, 3), "dense_units": (5,)}
    model = zoo.create_model("mnist_cnn_conv2", **arguments)
    images = np.random.default_rng(6).uniform(0, 255, (4, 16, 16, 1)).astype("float32")
    y = np.eye(CLASSES, dtype="float32")[[0, 1, 2, 2]]

    def by_both():
        automatic = autodiff(model, images, lambda scores, weights: keras_cost(scores, weights, y, decay=0))
        return Network("sigmoid", "max", weights_of(model)).derivatives(images, y, decay=0), automatic

    first, automatic = by_both()
    for derivatives in (first, automatic):
        assert all(not array.any() for name in WEIGHTED[:-1] for array in derivatives[name])
        assert all(array.any() for array in derivatives["scores"])
    last = model.get_layer("scores")
    last.set_weights([w - 0.1 * d for w, d in zip(last.get_weights(), first["scores"], strict=True)])
    for derivatives in by_both():
        assert all(array.any() for name in WEIGHTED for array in derivatives[name])
