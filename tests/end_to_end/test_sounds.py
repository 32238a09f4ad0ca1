"""A network of signals all the way: trained, tracked, published, served, and asked with sound files."""

import json
import wave

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines.experiment import run_experiment
from pipelines.publication import publish
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run
from serving.client import connect as connect_to_server
from serving.local_server import local_server

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, make_stable):
    """`speech_conv1d`, trained for a few epochs, published and served; (home, run, server)."""
    home = tmp_path_factory.mktemp("sounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        run = run_experiment(load_recipe("speech_conv1d").override({"epochs": 3, "network.arguments.filters": [8, 8]}))
        make_stable(publish(find_run(run.run_id)))
    with local_server([f"--model_config_file={home}/models/models.config"]) as server:
        server.wait_for("speech_conv1d", 1)
        yield home, run, server


@pytest.fixture
def home(sounds, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(sounds[0]))
    return sounds


def test_the_run_has_what_a_run_of_images_has(home):
    _, run, _ = home
    client = connect()
    files = {file.path for file in client.list_artifacts(run.run_id)}
    assert {"test_misclassified.png", "test_confusion_matrix.png", "test_report.txt", "recipe.yaml"} <= files
    (given,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert json.loads(given.dataset.schema)["signal"] == ["float32", 1000, 1]
    assert run.test_accuracy > 0.8


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_served_answers_are_keras_s(home, transport):
    _, run, server = home
    clips = run.data.test.images[:20]
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(run.model.predict(clips, verbose=0)))
    with connect_to_server(server.grpc_address if transport == "grpc" else server.rest_address) as client:
        assert not {"predict_bytes", "classify"} & set(client.metadata("speech_conv1d"))
        answer = client.predict("speech_conv1d", {"signal": clips})
    np.testing.assert_allclose(answer["probabilities"], expected, atol=TOLERANCE, rtol=0)
    assert list(answer["label"]) == [run.data.class_names[i] for i in expected.argmax(axis=1)]


@pytest.fixture
def wavs(sounds, tmp_path):
    """A clip of each class that the network gets right, as 16-bit WAV files between silence."""
    _, run, _ = sounds
    clips, labels = run.data.test.images, run.data.test.labels
    right = run.model.predict(clips, verbose=0).argmax(axis=1) == labels
    loud = np.abs(clips).max(axis=(1, 2)) > 0.1
    for label, name in enumerate(("noise", "speech")):
        clip = clips[np.flatnonzero(right & loud & (labels == label))[0]]
        quiet = np.zeros(2_000)
        samples = np.concatenate([quiet, clip[:, 0] * 32_768, quiet]).astype("<i2")
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(samples.tobytes())
    return tmp_path / "noise.wav", tmp_path / "speech.wav"


@pytest.mark.parametrize("transport", [[], ["--rest"]])
def test_zoo_predict_takes_wav_files(zoo_command, home, wavs, transport):
    server = home[2]
    address = (server.rest_address if transport else server.grpc_address).removeprefix("http://")
    status, out, err = zoo_command("predict", *wavs, "--server", address, *transport, "--json")
    assert status == 0, err
    answers = json.loads(out)
    assert [answer["signal"] for answer in answers] == [str(path) for path in wavs]
    assert [answer["label"] for answer in answers] == ["not speech", "speech"]
    status, out, _ = zoo_command("predict", wavs[1], "--server", address, *transport)
    assert "speech.wav" in out


def test_images_and_sounds_are_not_mixed_up(zoo_command, home, wavs, published, server, tmp_path):
    image = tmp_path / "a.png"
    Image.new("L", (28, 28)).save(image)
    for arguments, status, says in (
        ([image, wavs[0]], 2, "ask in two commands"),
        ([wavs[0], "--invert"], 2, "was given with --invert, which is for images"),
        ([image, "--server", home[2].grpc_address], 2, "speech_conv1d takes sounds; ask it with WAV files"),
        ([wavs[0], "--model", "digits_cnn", "--server", server.grpc_address], 2, "digits_cnn takes no sounds"),
        ([wavs[0], "--server", "127.0.0.1:1"], 1, "No model server answers at 127.0.0.1:1"),
    ):
        received, out, err = zoo_command("predict", *arguments)
        assert (received, out) == (status, "")
        assert says in " ".join(err.split())
