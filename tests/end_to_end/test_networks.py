"""Every network that is registered has a recipe and answers alike as a SavedModel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from pipelines.recipes import list_recipes, load_recipe
from serving.export import export_saved_model
from serving.images import encode_png

TOLERANCE = 1e-5
SEED = 20_261_121


def small_network(name):
    """The narrow variant that tests build, in the form that is served.

    No weight stays zero: some papers' scores start so, and then every answer is the same whatever the graph does.
    """
    keras.utils.set_random_seed(1)
    model = zoo.create_model(name, "serving", **zoo.get_spec(name).small)
    random = np.random.default_rng(SEED)
    for weight in model.trainable_weights:
        zero_scores = weight.ndim > 1 and not np.any(weight)
        weight.assign_add(random.normal(0, 0.3 if zero_scores else 0.05, weight.shape))
    return model


def undecided(model, inputs):
    """The network with its scores moved and shrunk until no class is sure, or no difference could be seen."""
    scores = model.predict(inputs, verbose=0)
    scale = 1 / max(1.0, float(scores.std(axis=0).max()))
    centred = keras.layers.Rescaling(scale, offset=-scale * scores.mean(axis=0))(model.output)
    return keras.Model(model.input, centred)


def examples(spec, shape, count):
    """Random ones, as a dataset holds them; each brighter than the one before, for noise alone looks much alike."""
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    if spec.input == "signal":
        return random.uniform(-1, 1, (count, *shape)).astype(np.float32)
    brightest = np.linspace(40, 256, count).reshape(-1, *[1] * len(shape))
    return random.integers(0, brightest, (count, *shape)).astype(np.uint8)


def asked(signature, name, inputs):
    """A signature's probabilities for images or signals, in the order of the classes."""
    if name == "classify":
        feature = tf.train.Feature
        protos = [
            tf.train.Example(
                features=tf.train.Features(
                    feature={"image/encoded": feature(bytes_list=tf.train.BytesList(value=[encode_png(image)]))}
                )
            ).SerializeToString()
            for image in inputs
        ]
        answer = signature(inputs=tf.constant(protos))
        classes, scores = answer["classes"].numpy().astype(int), answer["scores"].numpy()
        return np.take_along_axis(scores, classes.argsort(axis=1), axis=1)
    if name == "predict_bytes":
        return signature(image_bytes=tf.constant([encode_png(image) for image in inputs]))["probabilities"].numpy()
    (alias,) = signature.structured_input_signature[1]
    return signature(**{alias: tf.constant(inputs)})["probabilities"].numpy()


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_signature_of_the_export_answers_as_keras(name, tmp_path):
    spec, model = zoo.get_spec(name), small_network(name)
    inputs = examples(spec, model.input_shape[1:], 5)
    model = undecided(model, inputs)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(inputs, verbose=0)))
    assert np.ptp(expected, axis=0).max() > 50 * TOLERANCE, "it answers alike to all inputs, so that this shows nothing"
    labels = [str(i) for i in range(expected.shape[1])]
    export_saved_model(model, tmp_path / "export", name=name, class_names=labels, samples=inputs, lineage={})
    signatures = tf.saved_model.load(str(tmp_path / "export")).signatures
    wanted = {"serving_default"} if spec.input == "signal" else {"serving_default", "predict_bytes", "classify"}
    assert set(signatures) == wanted
    for signature in wanted:
        np.testing.assert_allclose(
            asked(signatures[signature], signature, inputs), expected, atol=TOLERANCE, rtol=0, err_msg=signature
        )


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_network_has_a_recipe(name):
    networks = {load_recipe(recipe).network.name for recipe in list_recipes()}
    assert name in networks, f"The network {name} has no built-in recipe; add pipelines/recipes/{name}.yaml."
