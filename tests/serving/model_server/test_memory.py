"""Memory of versions that are served no more is there for the next ones."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
MEGABYTES = 24


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    """A SavedModel whose variable takes so much memory."""
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(tf.ones([MEGABYTES * 2**18]))
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.answer = tf.function(lambda x: {"y": x * tf.reduce_mean(module.weight)}, input_signature=[spec])
    path = tmp_path_factory.mktemp("heavy") / "model"
    tf.saved_model.save(module, str(path), signatures=module.answer)
    return path


def test_swapping_versions_takes_no_more_and_more_memory(heavy, tmp_path, ports, connect):
    def put(version):
        staging = tmp_path / "m" / f".staging-{version}"
        staging.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-r", str(heavy), str(staging)], check=True)
        staging.rename(tmp_path / "m" / str(version))

    put(1)
    grpc_port, rest_port = ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += ["--model_name=m", f"--model_base_path={tmp_path / 'm'}"]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    client = connect(grpc_port, rest_port)
    try:
        taken = []
        for version in range(1, 13):
            put(version) if version > 1 else None
            client.wait_for("m", {**dict.fromkeys(range(1, version), "END"), version: "AVAILABLE"})
            assert client.rest("m:predict", {"instances": [2]}) == (200, {"predictions": [2.0]})
            taken.append(psutil.Process(server.pid).memory_info().rss / 2**20)
    finally:
        client.close()
        server.terminate()
        server.wait(60)
    # While a version is swapped two are there; what the first swaps took is used again by all that follow.
    assert max(taken[6:]) - taken[3] < MEGABYTES, [round(each) for each in taken]
