"""One harness over the registry: to register a network is to test it.

Big networks are tested as their spec's small variant, and once at the paper's width for their counts.
"""

import functools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo

GOLDEN = Path(__file__).with_name("golden.json")
OTHER_BACKEND = {"tensorflow": "jax", "jax": "tensorflow"}


@pytest.fixture(params=zoo.list_models())
def spec(request):
    return zoo.get_spec(request.param)


@functools.cache
def at_paper_width(name):
    """The serving form at the paper's shape, to be read only: some have 61 million weights to draw."""
    return zoo.create_model(name, "serving")


def small(spec, form="serving", **arguments):
    """The spec's small variant."""
    return zoo.create_model(spec.name, form, **{**spec.small, **arguments})


def inputs(model, count=4, seed=0):
    """Raw pixels 0…255, or samples −1…1."""
    low, high = (0, 255) if model.input.name == "image" else (-1, 1)
    return np.random.default_rng(seed).uniform(low, high, (count, *model.input.shape[1:])).astype("float32")


def trainable(weights):
    return sum(math.prod(weight.shape) for weight in weights)


def test_parameters_equal_the_papers(spec):
    model = at_paper_width(spec.name)
    counts = dict.fromkeys(spec.layer_parameters, 0)
    for layer in model.layers:
        own = trainable(layer.trainable_weights)
        stages = [stage for stage in counts if layer.name == stage or layer.name.startswith(f"{stage}_")]
        assert len(stages) == 1 or not own, f"{layer.name} with {own} parameters belongs to {stages}"
        if own:
            counts[stages[0]] += own
    assert counts == spec.layer_parameters
    if spec.paper.parameters is not None:
        assert sum(counts.values()) == spec.paper.parameters
    if spec.paper.training_parameters is not None:
        whole = zoo.create_model(spec.name, "training")
        assert trainable(whole.trainable_weights) == spec.paper.training_parameters


def test_connections_equal_the_papers(spec):
    rows = zoo.anatomy.group(zoo.anatomy.anatomy(at_paper_width(spec.name)), spec.layer_parameters)
    connections = {row.name: row.connections for row in rows}
    assert {stage: connections[stage] for stage in spec.layer_connections} == spec.layer_connections
    if spec.paper.connections is not None:
        assert sum(spec.layer_connections.values()) == spec.paper.connections


def test_what_the_paper_prints_otherwise_is_a_divergence(spec):
    """K is 1,024 parameters and M a million multiplications, as Szegedy et al. round them."""
    units = {"K": 1024, "M": 1_000_000, " million": 1_000_000, " billion": 1_000_000_000}
    rows = zoo.anatomy.anatomy(at_paper_width(spec.name))
    stages = zoo.anatomy.group(rows, spec.layer_parameters)
    ours = {row.name: (row, math.prod(row.output_shape)) for row in stages}
    ours["total"] = zoo.anatomy.totals(rows), sum(ours[stage][1] for stage in spec.layer_parameters)
    for stage, printed in spec.paper.table.items():
        row, neurons = ours[stage]
        counts = {
            "parameters": row.parameters,
            "connections": row.connections,
            "neurons": neurons,
            "operations": row.multiplications,
        }
        for what, text in printed.items():
            digits, rounded = re.fullmatch(r"([\d.,]+)(.*)", text).groups()
            unit = units[rounded] if rounded else None
            number = float(digits.replace(",", "")) * (unit or 1)
            agrees = abs(counts[what] / number - 1) < 0.03 if unit else counts[what] == number
            named = any(re.search(rf"\b{text}\b", sentence) for sentence in spec.divergences)
            assert agrees != named, f"{stage}: the paper prints {text} {what}, ours are {counts[what]:,}"


def test_takes_raw_values_and_returns_a_score_per_class(spec):
    model = at_paper_width(spec.name)
    assert model.input.name == spec.input
    assert model.input.dtype == "float32"
    assert model.input.shape == (None, *spec.input_shape)
    assert len(model.outputs) == 1
    assert model.output.shape == (None, spec.classes)
    assert model.output.dtype == "float32"


def test_builds_for_another_shape_and_number_of_classes(spec):
    *sides, _ = zoo.create_model(spec.name, **spec.small).input.shape[1:]
    shape = (sides[0] + 8, sides[1] + 4, 3) if len(sides) == 2 else (sides[0] + 100, 2)
    model = small(spec, input_shape=shape, classes=7)
    assert model(inputs(model)).shape == (4, 7)


def test_an_input_too_small_is_an_error_that_states_the_smallest(spec):
    channels, axes = spec.input_shape[-1], len(spec.input_shape) - 1

    def build(side):
        model = small(spec, "training", input_shape=(*[side] * axes, channels))
        assert np.isfinite(model(inputs(model))[0]).all()

    try:
        build(1)
    except zoo.ZooError as error:
        message = str(error)
    else:
        return  # without convolutions there is no smallest
    smallest = int(re.search(r"the smallest is (\d+)", message).group(1))
    build(smallest)
    with pytest.raises(zoo.ZooError, match=f"{spec.name} .* the smallest is {smallest}"):
        build(smallest - 1)


def test_a_wrong_number_of_axes_is_an_error(spec):
    with pytest.raises(zoo.ZooError, match=rf"takes one {spec.input}.*received the shape \(9, 9, 9, 9\)"):
        small(spec, input_shape=(9, 9, 9, 9))


def test_every_weight_gets_a_gradient(spec):
    """Non-zero on the second step: while network3's score layer is zero, every earlier gradient is exactly zero."""
    keras.utils.set_random_seed(1)
    model = small(spec, "training")
    x = inputs(model, 8)
    heads = len(model.outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    y = np.arange(8) % model.outputs[0].shape[-1]
    # With rho 0 a weight moves by the sign of this step's gradient, however small that is, and by nothing else.
    step = keras.optimizers.RMSprop(1e-3, rho=0.0, epsilon=1e-30)
    model.compile(step, [loss] * heads if heads > 1 else loss)
    for _ in range(2):
        before = model.get_weights()
        model.train_on_batch(x, [y] * heads if heads > 1 else y)
    for weight, new, old in zip(model.weights, model.get_weights(), before, strict=True):
        assert np.isfinite(new).all(), weight.path
        assert not np.array_equal(new, old) or not weight.trainable, weight.path


def test_forms_share_their_layers(spec):
    training = small(spec, "training")
    serving = zoo.serving_form(training)
    names = [layer.name for layer in small(spec, "serving").layers]
    assert [layer.name for layer in serving.layers] == names
    assert all(serving.get_layer(name) is training.get_layer(name) for name in names)
    x = inputs(training)
    main = keras.tree.flatten(training.predict(x, verbose=0))[0]
    np.testing.assert_allclose(serving.predict(x, verbose=0), main, atol=1e-6)
    assert (len(training.outputs) > 1) == spec.has_forms == bool(spec.auxiliary_weight)


@pytest.fixture(scope="module")
def reloaded(request, tmp_path_factory):
    """Scores of networks before saving, and those that a fresh process per backend gets from the .keras files."""
    folder = tmp_path_factory.mktemp("keras_files")
    before = {}
    chosen = {item.callspec.params.get("spec") for item in request.session.items if hasattr(item, "callspec")}
    for name in chosen & set(zoo.list_models()):
        model = deterministic(small(zoo.get_spec(name)))
        x = inputs(model)
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.x.npy", x)
        before[name] = model.predict(x, verbose=0)
    code = """
import pathlib, sys, keras, numpy, zoo
from keras import initializers
# The weights come out of the file; to draw others first takes JAX a compilation for each shape, minutes in all.
for kind in (initializers.VarianceScaling, initializers.RandomNormal, initializers.RandomUniform):
    kind.__call__ = lambda self, shape, dtype=None, **_: numpy.zeros(shape, dtype)
for path in pathlib.Path('.').glob('*.keras'):
    scores = keras.saving.load_model(path).predict(numpy.load(path.with_suffix('.x.npy')), verbose=0)
    numpy.save(path.with_suffix(f'.{keras.backend.backend()}.npy'), scores)
"""
    here = keras.backend.backend()
    for backend in (here, OTHER_BACKEND[here]):
        environment = {**os.environ, "KERAS_BACKEND": backend}
        subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)
    return lambda name, backend: (before[name], np.load(folder / f"{name}.{backend}.npy"))


def test_keras_file_loads_in_a_fresh_process(spec, reloaded):
    before, after = reloaded(spec.name, keras.backend.backend())
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_another_backend_gives_the_same_scores(spec, reloaded):
    before, after = reloaded(spec.name, OTHER_BACKEND[keras.backend.backend()])
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def deterministic(model):
    """The model with weights that NumPy drew: the same on every backend and in every version of Keras."""
    rng = np.random.default_rng(20_260)
    for weight in model.trainable_weights:
        fan_in = math.prod(weight.shape[:-1])
        weight.assign(rng.normal(0.0 if fan_in > 1 else 0.2, (2 / max(fan_in, 50)) ** 0.5, weight.shape))
    return model


def test_scores_are_the_golden_ones(spec):
    """ZOO_WRITE_GOLDEN=1 writes them anew: do that for a network that is new, never to make a changed one pass."""
    model = deterministic(small(spec))
    scores = model.predict(inputs(model, count=2), verbose=0)
    golden = json.loads(GOLDEN.read_text())
    if os.environ.get("ZOO_WRITE_GOLDEN"):
        golden[spec.name] = [[float(f"{score:.6g}") for score in row] for row in scores]
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(golden.items()))
        GOLDEN.write_text(f"{{\n{lines}\n}}\n")
    assert spec.name in golden, f"{spec.name} has no golden scores yet: run this test with ZOO_WRITE_GOLDEN=1."
    np.testing.assert_allclose(scores, golden[spec.name], rtol=1e-4, atol=1e-4 * np.abs(scores).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_scores_are_float32_under_mixed_precision(spec, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small(spec, "training")
        assert {output.dtype for output in model.outputs} == {"float32"}
        assert all(np.isfinite(scores).all() for scores in keras.tree.flatten(model.predict(inputs(model), verbose=0)))
    finally:
        keras.config.set_dtype_policy("float32")


def test_spec_says_where_it_comes_from(spec):
    assert spec.paper.citation
    assert spec.paper.section
    assert spec.divergences
    assert all(sentence.endswith(".") for sentence in (*spec.divergences, *spec.paper.reports))
