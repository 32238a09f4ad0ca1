"""docker-compose.yml, as far as it can be checked without a Docker engine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from serving.model_server.flags import parse_flags

FILE = Path(__file__).parents[2] / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose():
    return YAML(typ="safe", pure=True).load(FILE.read_text("utf-8"))


def test_the_schema_holds():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_serving_runs_on_the_gpu_and_on_the_cpu_by_profile(compose):
    gpu = compose["services"]["tensorflow-serving"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    cpu = compose["services"]["tensorflow-serving-cpu"]
    assert cpu["profiles"] == ["cpu"]
    assert "deploy" not in cpu
    assert cpu["command"] == gpu["command"]


def test_serving_flags_are_ones_that_the_local_server_takes_too(compose):
    flags = parse_flags([flag.replace("${ZOO_HOME:-${PWD}/artifacts}", "/a") for flag in
                         compose["services"]["tensorflow-serving"]["command"]])  # fmt: skip
    assert flags.model_config_file == "/a/models/models.config"
    # models.config has labels, which TensorFlow Serving without this flag refuses at start-up.
    assert flags.allow_version_labels_for_unavailable_models


@pytest.mark.parametrize("service", ["tensorflow-serving", "tensorflow-serving-cpu", "mlflow"])
def test_artifacts_lie_at_the_same_absolute_path_inside_and_out(compose, service):
    (mount,) = compose["services"][service]["volumes"]
    assert mount["source"] == mount["target"]
    assert mount.get("read_only", False) == service.startswith("tensorflow")


def test_ports_are_on_loopback(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_every_variable_has_a_default():
    without = re.findall(r"\$\{(?!PWD\})[A-Z_]+\}", FILE.read_text("utf-8"))
    assert without == []
