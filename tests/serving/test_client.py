import subprocess
import sys

import numpy as np
import pytest

from serving.client import TensorInfo, connect
from serving.client.interface import as_array, as_text
from serving.errors import ServingError
from serving.ports import free_ports


@pytest.fixture(params=["gRPC", "REST"])
def client(request, server):
    with connect(server.grpc_address if request.param == "gRPC" else server.rest_address) as client:
        yield client


@pytest.fixture
def images(published):
    return published.run.data.test.images[:5]


def test_predict_answers_with_arrays(client, images):
    outputs = client.predict("digits_cnn", {"image": images})
    assert outputs["probabilities"].shape == (5, 10)
    assert outputs["probabilities"].dtype == np.float32
    assert outputs["class_id"].dtype == np.int64
    np.testing.assert_array_equal(outputs["class_id"], outputs["probabilities"].argmax(axis=1))
    assert outputs["label"].tolist() == [str(i) for i in outputs["class_id"]]


@pytest.mark.parametrize("target", [{"version": 1}, {"label": "stable"}, {"label": None}])
def test_version_label_or_neither(client, images, target):
    assert client.predict("digits_cnn", {"image": images}, **target)["label"].shape == (5,)


def test_metadata_describes_the_signatures(client):
    signatures = client.metadata("digits_cnn")
    assert set(signatures) >= {"serving_default", "predict_bytes", "classify"}
    default = signatures["serving_default"]
    assert default.inputs == {"image": TensorInfo("DT_UINT8", (-1, 28, 28, 1))}
    assert default.outputs["probabilities"] == TensorInfo("DT_FLOAT", (-1, 10))


def test_status(client):
    (status,) = client.status("digits_cnn")
    assert (status.version, status.state, status.error) == (1, "AVAILABLE", "")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.predict("digits", {"image": [0]}, label=None), "refused the request for digits.*zoo publish"),
        (lambda c: c.predict("digits_cnn", {"image": [0]}, version=7), "Specific.*7.*zoo publish"),
        (lambda c: c.predict("digits_cnn", {"image": [0]}, label="best"), "Unrecognized servable version label: best"),
        (lambda c: c.predict("digits_cnn", {"picture": np.zeros((1, 28, 28, 1), np.uint8)}), "refused"),
        (lambda c: c.predict("digits_cnn", {"image_bytes": [b"no image"]}, signature="predict_bytes"), "refused"),
        (lambda c: c.predict("digits_cnn", {"image": [0]}, signature="guess"), "guess.*not found"),
        (lambda c: c.metadata("nothing", label=None), "refused the request for nothing"),
    ],
)
def test_a_refused_request_is_one_sentence_with_the_servers_words(client, call, says):
    with pytest.raises(ServingError, match=says) as error:
        call(client)
    assert "\n" not in str(error.value).strip()


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_no_server(scheme):
    (port,) = free_ports(1)
    with (
        connect(f"{scheme}127.0.0.1:{port}", timeout=5) as client,
        pytest.raises(ServingError, match="No model server"),
    ):
        client.predict("digits_cnn", {"image": [0]})


def test_deadline(server, images):
    for address in (server.grpc_address, server.rest_address):
        many = np.repeat(images, 400, axis=0)
        with (
            connect(address, timeout=0.001) as client,
            pytest.raises(ServingError, match=r"within 0\.001 s; allow more"),
        ):
            client.predict("digits_cnn", {"image": many})


def test_strings_keep_every_byte():
    values = as_array([b"a\0", "ä"])
    assert values.tolist() == [b"a\0", "ä".encode()]
    assert as_text("label", values).tolist() == ["a\0", "ä"]
    assert as_text("image_bytes", values) is values


def test_the_client_loads_no_tensorflow():
    code = "import sys, serving.client; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensorflow_can_be_imported_after_the_client():
    code = "import serving.client, tensorflow as tf; assert tf.constant(1).numpy() == 1; tf.make_tensor_proto([1.0])"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
