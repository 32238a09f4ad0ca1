"""A folder of one's own images, from the command line to a published version."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from pipelines.home import home
from pipelines.tracking import connect, find_run
from serving.artifact import read_lineage

CLASSES = ("dark things", "light $Blüten$")
FIELDS = {
    "network": {"name": "mnist_cnn_relu", "arguments": {"filters": [4], "initialization": "he_normal"}},
    "augmentation": [],
    "epochs": 30,
    "batch_size": 8,
}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Dark and light photographs of several shapes, in a folder whose name has a space."""
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "data"))
    seed = 20_261_121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for name, brightness in zip(CLASSES, (0, 150), strict=True):
        folder = tmp_path / "data" / "my photos" / name
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = brightness + random.integers(0, 100, (random.integers(20, 60), random.integers(20, 60), 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.jpg")


@pytest.mark.usefixtures("store", "photos")
def test_a_folder_is_trained_on_published_and_must_not_change(zoo_command, tmp_path):
    dataset = "{name: folder, path: my photos, image_size: [28, 36]}"
    assignments = [f"{field}={json.dumps(value)}" for field, value in FIELDS.items()] + [f"dataset={dataset}"]
    sets = [word for assignment in assignments for word in ("--set", assignment)]
    status, out, err = zoo_command("train", "digits_cnn", *sets, "--json")
    assert status == 0, err
    (run,) = json.loads(out)["runs"]
    assert run["test_accuracy"] > 0.9
    found = find_run(run["run_id"])
    client = connect()
    assert client.get_experiment(found.info.experiment_id).name == "folder-my photos"
    assert {file.path for file in client.list_artifacts(run["run_id"])} >= {"recipe.yaml", "test_report.txt"}

    status, _, err = zoo_command("publish", run["run_id"])
    assert status == 0, err
    folder = home() / "models" / "digits_cnn" / "1"
    assert (folder / "assets" / "labels.txt").read_text("utf-8").splitlines() == list(CLASSES)
    assert read_lineage(folder)["recipe"]["dataset"]["image_size"] == [28, 36]

    # One image more: what was trained on is gone, and what was tested on may lie in another part.
    photos = tmp_path / "data" / "my photos" / CLASSES[0]
    shutil.copy(photos / "0.jpg", photos / "more.jpg")
    status, out, err = zoo_command("draw", run["run_id"])
    assert (status, out) == (1, "")
    assert "The dataset folder-my photos has the digest" in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.usefixtures("store")
def test_a_folder_that_is_not_there_is_one_sentence(zoo_command):
    dataset = "{name: folder, path: nowhere, image_size: [28, 28]}"
    status, out, err = zoo_command("train", "digits_cnn", "--set", f"dataset={dataset}")
    assert (status, out) == (1, "")
    assert "There is no folder 'nowhere', neither in ZOO_DATA_DIR (not set) nor in" in " ".join(err.split())
    assert "Traceback" not in err
