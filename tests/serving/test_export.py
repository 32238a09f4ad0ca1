import io
import shutil
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.artifact import content_hash, read_lineage
from serving.errors import ServingError
from serving.export import export_saved_model
from serving.protos import prediction_log_pb2
from serving.verify import verify


@pytest.fixture
def export(published, tmp_path):
    """A copy of the published SavedModel that a test may break."""
    return shutil.copytree(published.release.folder, tmp_path / "export")


def test_signatures_are_those_of_the_contract(export):
    signatures = tf.saved_model.load(str(export)).signatures
    described = {
        name: (
            {k: (v.dtype.name, v.shape.as_list()) for k, v in signature.structured_input_signature[1].items()},
            {k: (v.dtype.name, v.shape.as_list()) for k, v in signature.structured_outputs.items()},
        )
        for name, signature in signatures.items()
    }
    answer = {"probabilities": ("float32", [None, 10]), "class_id": ("int64", [None]), "label": ("string", [None])}
    assert described == {
        "serving_default": ({"image": ("uint8", [None, 28, 28, 1])}, answer),
        "predict_bytes": ({"image_bytes": ("string", [None])}, answer),
        "classify": (
            {"inputs": ("string", [None])},
            {"classes": ("string", [None, 10]), "scores": ("float32", [None, 10])},
        ),
    }


def test_what_lies_beside_the_graph(export, published):
    assert (export / "assets" / "labels.txt").read_text().split() == list("0123456789")
    lineage = read_lineage(export)
    assert lineage["content_hash"] == content_hash(export)
    assert lineage["model"] == "digits_cnn"
    warm_up = tf.data.TFRecordDataset(str(export / "assets.extra" / "tf_serving_warmup_requests"))
    assert len(list(warm_up)) == 3


def test_the_content_hash_notices_any_change(export):
    before = content_hash(export)
    variables = export / "variables" / "variables.data-00000-of-00001"
    variables.write_bytes(variables.read_bytes()[:-1] + b"\1")
    assert content_hash(export) != before


def test_a_sound_export_verifies(export):
    verify(export)


def test_one_changed_answer_does_not(export):
    reference = export / "assets.extra" / "reference.npz"
    with np.load(reference) as file:
        arrays = dict(file)
    arrays["probabilities"][0, 0] += 1e-4
    np.savez(reference, **arrays)
    with pytest.raises(ServingError, match=r"serving_default: probabilities differ by up to 0\.0001"):
        verify(export)


def test_other_labels_than_the_graphs_do_not(export):
    (export / "assets" / "labels.txt").write_text("\n".join("0123456798"))
    with pytest.raises(ServingError, match="label is"):
        verify(export)


def test_a_broken_graph_does_not(export):
    (export / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(ServingError, match=r"saved_model\.pb|Cannot load|parse"):
        verify(export)


def test_lineage_that_cannot_be_read_is_empty(tmp_path, export):
    (export / "assets.extra" / "lineage.json").write_text("{")
    assert read_lineage(export) == {}
    assert read_lineage(tmp_path / "nowhere") == {}


@pytest.fixture(scope="module")
def signals():
    seed = 20_261_121
    print(f"seed {seed}")
    return np.random.default_rng(seed).uniform(-1, 1, (6, 40, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def signal_model():
    keras.utils.set_random_seed(1)
    signal = keras.Input((40, 1), name="signal")
    x = keras.layers.Flatten()(keras.layers.Conv1D(4, 5, activation="relu")(signal))
    return keras.Model(signal, keras.layers.Dense(2)(x))


@pytest.fixture
def signal_export(signal_model, signals, tmp_path):
    folder = tmp_path / "signals"
    facts = {"name": "sounds", "class_names": ["noise", "speech"], "samples": signals, "lineage": {}}
    export_saved_model(signal_model, folder, **facts)
    return folder


def test_a_model_of_signals_has_the_one_signature_that_takes_them(signal_export, signal_model, signals):
    signatures = tf.saved_model.load(str(signal_export)).signatures
    assert list(signatures) == ["serving_default"]
    (described,) = signatures["serving_default"].structured_input_signature[1].values()
    assert (described.name, described.dtype, described.shape.as_list()) == ("signal", tf.float32, [None, 40, 1])
    answer = signatures["serving_default"](signal=tf.constant(signals))
    assert {name: value.dtype.name for name, value in answer.items()} == {
        "probabilities": "float32",
        "class_id": "int64",
        "label": "string",
    }
    expected = tf.nn.softmax(signal_model.predict(signals, verbose=0)).numpy()
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    assert answer["label"].numpy().tolist() == [[b"noise", b"speech"][i] for i in expected.argmax(axis=1)]


def test_a_model_of_signals_is_verified_and_warmed_up_with_them(signal_export, signals):
    verify(signal_export)
    warm_up = tf.data.TFRecordDataset(str(signal_export / "assets.extra" / "tf_serving_warmup_requests"))
    sizes = []
    for record in warm_up.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.signature_name == "serving_default"
        sizes.append(tf.make_ndarray(request.inputs["signal"]).shape)
    assert sizes == [(1, 40, 1), (6, 40, 1)]


def test_a_changed_answer_to_a_signal_does_not_verify(signal_export):
    reference = signal_export / "assets.extra" / "reference.npz"
    with np.load(reference) as file:
        arrays = dict(file)
    arrays["probabilities"][0] += (1e-4, -1e-4)
    np.savez(reference, **arrays)
    with pytest.raises(ServingError, match=r"serving_default: probabilities differ by up to 0\.0001"):
        verify(signal_export)


def test_labels_may_hold_any_letters_and_what_text_takes_for_an_end_of_line(signal_model, signals, tmp_path):
    names = ["Blüten", "a\u2028b"]
    export_saved_model(signal_model, tmp_path / "new", name="sounds", class_names=names, samples=signals, lineage={})
    verify(tmp_path / "new")


def test_class_names_that_are_not_as_many_as_the_scores(signal_model, signals, tmp_path):
    with pytest.raises(ServingError, match="sounds has 2 scores and 1 class names"):
        export_saved_model(
            signal_model, tmp_path / "new", name="sounds", class_names=["a"], samples=signals, lineage={}
        )
    assert not (tmp_path / "new").exists()


def encoded_image(kind, size=(30, 20), colour=128):
    stream = io.BytesIO()
    Image.new("L", size, colour).save(stream, kind)
    return stream.getvalue()


def announcing(png, width, height):
    """A PNG whose header promises other sides than it has."""
    header = png[12:16] + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.fixture(scope="module")
def predict_bytes(published):
    signature = tf.saved_model.load(str(published.release.folder)).signatures["predict_bytes"]
    return lambda image: signature(image_bytes=tf.constant([image]))["label"].numpy()


@pytest.mark.parametrize("image", [encoded_image("PNG"), encoded_image("JPEG"), encoded_image("PNG", (3000, 2000))])
def test_images_of_any_size_are_taken(predict_bytes, image):
    assert len(predict_bytes(image)) == 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (announcing(encoded_image("PNG"), 60_000, 60_000), "At most 50000000 pixels are taken"),
        (announcing(encoded_image("PNG"), 2**31, 2**31), "At most 50000000 pixels are taken"),
        (announcing(encoded_image("PNG"), 0, 20), "At most 50000000 pixels are taken"),
        # Real ones: small files of more pixels than are taken.
        (encoded_image("PNG", (9_000, 9_000)), "At most 50000000 pixels are taken"),
        (encoded_image("JPEG", (9_000, 9_000)), "At most 50000000 pixels are taken"),
        (announcing(encoded_image("PNG"), 2**32 - 1, 2**32 - 1), "At most 50000000 pixels are taken"),
        (encoded_image("PNG")[:18], "Invalid JPEG"),
        (encoded_image("PNG")[:-30], "Invalid PNG"),
        (encoded_image("JPEG")[:100], "Invalid JPEG"),
        (encoded_image("GIF"), "Invalid JPEG"),
        (b"", "Invalid JPEG"),
    ],
)
def test_what_is_no_image_or_a_bomb_is_refused(predict_bytes, image, reason):
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        predict_bytes(image)
