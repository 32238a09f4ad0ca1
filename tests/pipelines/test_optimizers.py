"""The fused update rules against Keras's own, which are written out operation by operation."""

import gc

import keras
import numpy as np
import pytest
from tensorflow.python.framework.func_graph import FuncGraph

from pipelines.datasets import load_dataset
from pipelines.optimizers import make_optimizer
from pipelines.settings.training import Optimizer
from pipelines.training import fit

RATE, DECAY = 0.05, 0.1
CASES = {
    "sgd": ({"name": "sgd"}, lambda: keras.optimizers.SGD(RATE)),
    "sgd_decay": (
        {"name": "sgd", "weight_decay": DECAY},
        lambda: keras.optimizers.SGD(RATE, weight_decay=DECAY),
    ),
    "momentum": (
        {"name": "sgd", "momentum": 0.9, "weight_decay": DECAY},
        lambda: keras.optimizers.SGD(RATE, momentum=0.9, weight_decay=DECAY),
    ),
    "nesterov": (
        {"name": "sgd", "momentum": 0.9, "nesterov": True},
        lambda: keras.optimizers.SGD(RATE, momentum=0.9, nesterov=True),
    ),
    "adam": ({"name": "adam"}, lambda: keras.optimizers.Adam(RATE)),
    "adamw": ({"name": "adamw", "weight_decay": DECAY}, lambda: keras.optimizers.AdamW(RATE, weight_decay=DECAY)),
}


def trained(optimizer):
    """Weights and the optimizer's state after twenty steps towards a fixed answer."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(160, 5)).astype("float32"), random.normal(size=(160, 3)).astype("float32")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return [*model.get_weights(), *(np.array(variable) for variable in optimizer.variables)]


@pytest.mark.parametrize(("choice", "keras_own"), CASES.values(), ids=CASES.keys())
def test_update_is_keras_s(choice, keras_own):
    ours = trained(make_optimizer(Optimizer(learning_rate=RATE, **choice), RATE))
    expected = trained(keras_own())
    assert len(ours) == len(expected)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_half_precision_and_a_schedule(name):
    """Keras wraps the optimizer to scale a float16 loss, and asks it for the rate of each step."""
    keras.utils.set_random_seed(1)
    rate = keras.optimizers.schedules.CosineDecay(0.05, 40)
    inner = make_optimizer(Optimizer(name=name, learning_rate=0.05), rate)
    x = np.random.default_rng(1).normal(size=(64, 5)).astype("float32")
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(8, "relu", dtype="mixed_float16"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    history = model.fit(x, x[:, :1], epochs=10, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_a_training_leaves_no_graph_behind(small_recipe):
    """Keras's sum over devices is registered with TensorFlow for good, and with it the graph: here it is left out."""
    recipe = small_recipe.override({"epochs": 1})
    data = load_dataset("digits")

    def graphs():
        fit(recipe, data)
        keras.backend.clear_session()
        gc.collect()
        return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())

    before = graphs()
    assert graphs() == before
