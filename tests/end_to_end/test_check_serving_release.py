"""docker/check_serving_release.py: its own logic, with this project's TensorFlow in the release's place."""

import importlib.util
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from serving.errors import ServingError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("check_serving_release", ROOT / "docker" / "check_serving_release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def export(published, tmp_path):
    """A copy of the published version's folder, to be damaged."""
    return shutil.copytree(published.release.folder, tmp_path / "digits_cnn" / "1")


def test_the_newest_served_version_answers(script, published_home, capsys):
    status = script.main(["--python", sys.executable])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[:2] == ["digits_cnn/1", f"  TensorFlow {version('tensorflow')}"]
    found = [re.fullmatch(r"  (\w+) +probabilities differ by at most (\S+)", line).groups() for line in lines[2:]]
    assert [name for name, _ in found] == ["serving_default", "predict_bytes", "classify"]
    assert all(0 <= float(difference) <= 1e-5 for _, difference in found)


def test_exports_that_do_not_load_or_answer_otherwise(script, export, capsys):
    """Each is said in one sentence, and the next is checked all the same."""
    altered = shutil.copytree(export, export.parent / "2")
    reference = altered / "assets.extra" / "reference.npz"
    with np.load(reference) as file:
        arrays = dict(file)
    np.savez(reference, **(arrays | {"probabilities": np.roll(arrays["probabilities"], 1, axis=1)}))
    with (export / "saved_model.pb").open("r+b") as file:
        file.truncate(100)
    status = script.main(["--python", sys.executable, str(export), str(altered)])
    captured = capsys.readouterr()
    assert (status, captured.out) == (1, "")
    damaged, different = captured.err.splitlines()
    assert damaged.startswith("Error: digits_cnn/1: ")
    assert "saved_model.pb" in damaged
    assert re.match(
        r"Error: digits_cnn/2: serving_default: probabilities differ by up to \S+, at most 1e-05", different
    )


def test_the_release_is_that_of_the_image(script):
    services = YAML(typ="safe", pure=True).load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    images = [service.get("image", "") for service in services.values()]
    assert f"tensorflow/serving:${{SERVING_TAG:-{script.image_release()}}}" in images


def test_what_is_installed(script, tmp_path):
    """The release with its own dependencies, and of this project nothing but the messages."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    python.chmod(0o755)
    assert script.installed("2.20.0", tmp_path) == str(python)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.partition("--disable-pip-version-check ")[2] for call in calls] == [
        "tensorflow==2.20.0",
        f"--no-deps tensorflow-serving-api=={version('tensorflow-serving-api')}",
    ]
    python.write_text("#!/bin/sh\necho 'ERROR: no matching distribution' >&2; exit 1\n")
    with pytest.raises(ServingError, match=r"tensorflow==9\.9 cannot be installed .*no matching distribution"):
        script.installed("9.9", tmp_path)


def test_nothing_to_check(script, capsys, tmp_path):
    assert script.main(["--python", sys.executable]) == 1
    assert "Error: Nothing is published" in capsys.readouterr().err
    assert script.main(["--python", str(tmp_path / "none"), str(tmp_path)]) == 1
    assert "can be started" in capsys.readouterr().err
