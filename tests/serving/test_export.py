import shutil

import numpy as np
import pytest
import tensorflow as tf

from serving.artifact import content_hash, read_lineage
from serving.errors import ServingError
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
