"""The same images through Keras, the SavedModel, gRPC, REST and curl: the same answers."""

import base64
import json
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from serving.client import connect
from serving.images import encode_png

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def images(published):
    return published.run.data.test.images[:50]


@pytest.fixture(scope="module")
def expected(published, images):
    """Keras's probabilities, from the network as it was trained, before any saving."""
    return keras.ops.convert_to_numpy(keras.ops.softmax(published.run.model.predict(images, verbose=0)))


def saved_model(published, server, images):
    signature = tf.saved_model.load(str(published.release.folder)).signatures["serving_default"]
    return {name: value.numpy() for name, value in signature(image=tf.constant(images)).items()}


def saved_model_bytes(published, server, images):
    signature = tf.saved_model.load(str(published.release.folder)).signatures["predict_bytes"]
    encoded = tf.constant([encode_png(image) for image in images])
    return {name: value.numpy() for name, value in signature(image_bytes=encoded).items()}


def grpc(published, server, images):
    with connect(server.grpc_address) as client:
        return client.predict("digits_cnn", {"image": images})


def grpc_bytes(published, server, images):
    with connect(server.grpc_address) as client:
        encoded = [encode_png(image) for image in images]
        return client.predict("digits_cnn", {"image_bytes": encoded}, signature="predict_bytes")


def rest(published, server, images):
    with connect(server.rest_address) as client:
        return client.predict("digits_cnn", {"image": images})


def rest_bytes(published, server, images):
    with connect(server.rest_address) as client:
        encoded = [encode_png(image) for image in images]
        return client.predict("digits_cnn", {"image_bytes": encoded}, signature="predict_bytes")


def curl(published, server, images):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    instances = [{"b64": base64.b64encode(encode_png(image)).decode()} for image in images]
    body = json.dumps({"signature_name": "predict_bytes", "instances": instances})
    url = f"{server.rest_address}/v1/models/digits_cnn/labels/stable:predict"
    done = subprocess.run(["curl", "-s", url, "-d", "@-"], input=body.encode(), capture_output=True, check=True)
    rows = json.loads(done.stdout)["predictions"]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("way", [saved_model, saved_model_bytes, grpc, grpc_bytes, rest, rest_bytes, curl])
def test_equal_answers(published, server, images, expected, way):
    answers = way(published, server, images)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(answers["class_id"], expected.argmax(axis=1))


@pytest.mark.parametrize("way", [saved_model, grpc, rest])
def test_labels_are_the_digits_that_people_wrote(published, server, images, way):
    labels = [
        str(label.decode() if isinstance(label, bytes) else label) for label in way(published, server, images)["label"]
    ]
    # From scikit-learn itself, past our own list of class names.
    truth = [str(label) for label in published.run.data.test.labels[:50]]
    assert np.mean([a == b for a, b in zip(labels, truth, strict=True)]) > 0.9


@pytest.mark.parametrize("way", [grpc_bytes, rest_bytes])
def test_an_image_of_another_size_and_in_colour_is_brought_into_shape(published, server, images, expected, way):
    """Each pixel as a block of 3x3 and in three equal channels: shrunk back, nearly the same image."""
    large = np.repeat(np.repeat(np.repeat(images, 3, axis=1), 3, axis=2), 3, axis=3)
    answers = way(published, server, large)
    agree = answers["class_id"] == expected.argmax(axis=1)
    assert agree.mean() > 0.9
