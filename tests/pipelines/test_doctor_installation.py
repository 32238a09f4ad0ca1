"""What `zoo doctor` says of Python, packages, TensorFlow, GPUs and Docker."""

import platform
import sys
from importlib import metadata

import pytest

from pipelines.doctor import Finding, installation


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """The only programs that are found: scripts of a test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


@pytest.fixture
def installed_tensorflow(monkeypatch, tmp_path):
    """What `import tensorflow` does in another process."""

    def put(source):
        (tmp_path / "tensorflow.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_pythons_range(monkeypatch):
    assert installation.python() == Finding("Python", "ok", platform.python_version())
    for version in ("3.10.14", "3.14.0"):
        monkeypatch.setattr(platform, "python_version", lambda version=version: version)
        found = installation.python()
        assert (found.level, found.found.split(",")[0]) == ("problem", version)
        assert ">=3.11" in found.found


def test_packages_that_are_missing_or_of_another_version(monkeypatch):
    found = installation.packages()
    assert (found.level, found.advice) == ("ok", "")

    real = metadata.version

    def version(name):
        if name == "httpx":
            raise metadata.PackageNotFoundError(name)
        return "2.16.1" if name == "tensorflow" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = installation.packages()
    assert found.level == "problem"
    faults = found.found.split("; ")
    assert len(faults) == 2
    assert "httpx is missing" in faults
    assert any(fault.startswith("tensorflow 2.16.1 is not in ") for fault in faults)
    assert "setup" in found.advice


def test_tensorflow_that_does_not_import(installed_tensorflow, monkeypatch):
    installed_tensorflow("raise ImportError('libcudart.so.12: cannot open shared object file')")
    (found,) = installation.tensorflow()
    assert found.level == "problem"
    assert "does not import: ImportError: libcudart.so.12" in found.found

    installed_tensorflow("import os; os.abort()")  # as on a processor without AVX
    (found,) = installation.tensorflow()
    assert found.level == "problem"
    assert "the process ended with status -" in found.found

    monkeypatch.setattr(installation, "TENSORFLOW_SECONDS", 0.5)
    installed_tensorflow("import time; time.sleep(60)")
    (found,) = installation.tensorflow()
    assert (found.level, "within 0.5 s" in found.found) == ("problem", True)


GPUS = """
class config:
    list_physical_devices = staticmethod(lambda kind: {gpus} if kind == "GPU" else [])
    class experimental:
        get_device_details = staticmethod(lambda gpu: gpu)
__version__ = "2.99.0"
"""


def test_gpus_that_tensorflow_sees(installed_tensorflow, tools):
    installed_tensorflow(GPUS.format(gpus=[{"device_name": "NVIDIA H100"}, {}]))
    assert installation.tensorflow() == [
        Finding("TensorFlow", "ok", "2.99.0"),
        Finding("GPU", "ok", "NVIDIA H100, a GPU"),
    ]


def test_why_tensorflow_sees_no_gpu(installed_tensorflow, tools, monkeypatch):
    installed_tensorflow(GPUS.format(gpus=[]))

    def gpu():
        found = installation.tensorflow()[1]
        assert (found.name, found.level) == ("GPU", "note")
        return found

    assert "no nvidia-smi" in gpu().found
    assert "driver" in gpu().advice
    tools("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert "nvidia-smi reaches no GPU" in gpu().found
    tools("nvidia-smi", '[ "$1" = --list-gpus ] && echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "GPU 0: NVIDIA H100 80GB HBM3, and CUDA_VISIBLE_DEVICES is '-1'" in gpu().found
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "pip install -e '.[gpu]'" in gpu().advice


def test_docker(tools, monkeypatch):
    (found,) = installation.docker()
    assert (found.level, "not installed" in found.found) == ("note", True)
    tools("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    engine, compose = installation.docker()
    assert (engine.level, compose.level) == ("note", "note")
    assert "no engine answers" in engine.found
    assert "plugin" in compose.advice
    tools("docker", 'case "$1" in version) echo 28.2.2;; compose) echo 2.36.2;; *) exit 1;; esac')
    assert installation.docker() == [
        Finding("Docker", "ok", "engine 28.2.2"),
        Finding("Docker compose", "ok", "2.36.2"),
    ]
    for release, level in (("2.27.1", "note"), ("v2.28.0-desktop.1", "ok"), ("5.0.1", "ok"), ("dev", "ok")):
        tools("docker", f'case "$1" in version) echo 28.2.2;; compose) echo {release};; *) exit 1;; esac')
        assert installation.docker()[1].level == level
    tools("nvidia-smi", "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'")
    _, runtime, _ = installation.docker()
    assert (runtime.name, runtime.level) == ("GPU in Docker", "note")
    assert "nvidia-container-toolkit" in runtime.advice
    tools("docker", 'case "$1" in version) echo 28.2.2;; info) echo \'{"nvidia":{},"runc":{}}\';; *) exit 1;; esac')
    assert installation.docker()[1] == Finding("GPU in Docker", "ok", "the engine has NVIDIA's runtime")
    monkeypatch.setattr(installation, "TOOL_SECONDS", 0.3)
    tools("docker", f"exec {sys.executable} -c 'import time; time.sleep(60)'")
    assert "no engine answers" in installation.docker()[0].found
