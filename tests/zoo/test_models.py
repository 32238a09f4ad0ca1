"""One harness over the registry: to register a network is to test it."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import zoo


@pytest.fixture(params=zoo.list_models())
def spec(request):
    return zoo.get_spec(request.param)


def images(spec, count=4, shape=None):
    return np.random.default_rng(0).uniform(0, 255, (count, *(shape or spec.input_shape))).astype("float32")


def test_parameters_equal_the_papers(spec):
    model = zoo.create_model(spec.name)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.count_params()}
    assert counts == spec.layer_parameters
    assert model.count_params() == spec.paper.parameters


def test_takes_raw_pixels_and_returns_a_score_per_class(spec):
    model = zoo.create_model(spec.name)
    assert model.input.name == "image"
    assert model.input.dtype == "float32"
    assert model.input.shape == (None, *spec.input_shape)
    assert model.output.shape == (None, spec.classes)
    assert model.output.dtype == "float32"


def test_builds_for_another_shape_and_number_of_classes(spec):
    model = zoo.create_model(spec.name, input_shape=(36, 32, 3), classes=7)
    assert model(images(spec, shape=(36, 32, 3))).shape == (4, 7)


def test_every_weight_gets_a_gradient(spec):
    """Non-zero on the second step: while network3's score layer is zero, every earlier gradient is exactly zero."""
    keras.utils.set_random_seed(1)
    model = zoo.create_model(spec.name)
    x, y = images(spec, 8), np.arange(8) % spec.classes
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(2):
        before = model.get_weights()
        model.train_on_batch(x, y)
    for weight, new, old in zip(model.weights, model.get_weights(), before, strict=True):
        assert np.isfinite(new).all(), weight.path
        assert not np.array_equal(new, old) or not weight.trainable, weight.path


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """Scores of every network before saving, and those that one fresh process gets from the `.keras` files."""
    folder = tmp_path_factory.mktemp("keras_files")
    before = {}
    for name in zoo.list_models():
        model, x = zoo.create_model(name), images(zoo.get_spec(name))
        model.save(folder / f"{name}.keras")
        np.save(folder / f"{name}.x.npy", x)
        before[name] = model.predict(x, verbose=0)
    code = """
import pathlib, keras, numpy, zoo
for path in pathlib.Path('.').glob('*.keras'):
    scores = keras.saving.load_model(path).predict(numpy.load(path.with_suffix('.x.npy')), verbose=0)
    numpy.save(path.with_suffix('.scores.npy'), scores)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
    return before, {name: np.load(folder / f"{name}.scores.npy") for name in before}


def test_keras_file_loads_in_a_fresh_process(spec, reloaded):
    before, after = reloaded
    np.testing.assert_allclose(after[spec.name], before[spec.name], atol=1e-6)


def test_scores_are_float32_under_mixed_precision(spec):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.create_model(spec.name)
        assert model.output.dtype == "float32"
        assert np.isfinite(model.predict(images(spec), verbose=0)).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_spec_says_where_it_comes_from(spec):
    assert spec.paper.citation
    assert spec.paper.section
    assert all(sentence.endswith(".") for sentence in spec.divergences)


def test_zoo_imports_keras_and_numpy_only():
    code = "import sys; before = set(sys.modules); import keras, numpy; own = set(sys.modules); import zoo, json;" + (
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - own - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    third_party = set(json.loads(done.stdout)) - set(sys.stdlib_module_names)
    assert third_party == {"zoo"}
