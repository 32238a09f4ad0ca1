"""Labels on versions that are not there yet, or cannot be loaded."""

import shutil
import time

import grpc
import numpy as np
import pytest

from serving.errors import ServingError

X = {"x": np.float32([0])}
TWO = {"y": [2.0]}
SPECIFIC_1 = "model_version_policy { specific { versions: 1 } }"
SPECIFIC_12 = "model_version_policy { specific { versions: 1 versions: 2 } }"


def label(name, version):
    return f'version_labels {{ key: "{name}" value: {version} }} '


def test_a_label_on_a_version_that_is_not_there_keeps_the_server_from_starting(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    config = configure("m", tmp_path / "m", label("stable", 2))
    message = "label to version 2 of model m, which is not currently available for inference"
    with pytest.raises(ServingError, match=message):
        servers.start(config)
    client = servers.start(config, "--allow_version_labels_for_unavailable_models")
    with pytest.raises(grpc.RpcError, match=r"Specific\(m, 2\)"):
        client.predict("m", X, label="stable")
    assert client.predict("m", X) == TWO


def test_a_label_that_waits_for_its_version_keeps_no_other_change_back(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    waiting = configure("m", tmp_path / "m", label("stable", 2))
    flags = ["--allow_version_labels_for_unavailable_models", "--model_config_file_poll_wait_seconds=1"]
    client = servers.start(waiting, *flags)
    library.put("plus_three", tmp_path / "n", 1)
    servers.write(waiting + configure("n", tmp_path / "n"))
    client.wait_for("n", {1: "AVAILABLE"})


def test_a_refused_config_is_tried_again_as_failed_loads_are(servers, library, tmp_path, configure, caplog):
    library.put("plus_two", tmp_path / "m", 1)
    flags = ["--model_config_file_poll_wait_seconds=1", "--load_retry_interval_micros=1500000"]
    client = servers.start(configure("m", tmp_path / "m", SPECIFIC_1 + label("stable", 1)), *flags)
    # A copy that is under way: the folder is there, and what is in it comes later.
    version = library.put("broken", tmp_path / "m", 2)
    servers.write(configure("m", tmp_path / "m", SPECIFIC_12 + label("stable", 2)))
    while "New config refused" not in caplog.text:
        time.sleep(0.05)
    shutil.copytree(library.root / "plus_three", version, dirs_exist_ok=True)
    while client.states("m", label="stable") != {2: "AVAILABLE"}:
        time.sleep(0.05)
