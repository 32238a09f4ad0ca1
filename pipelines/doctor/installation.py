"""Is the project installed as it was tested: Python, packages, TensorFlow and its GPU, Docker?"""

import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from pipelines.doctor.finding import Finding

PROJECT = "conv-zoo"
TENSORFLOW_SECONDS = 120.0  # from a cold disk the import takes half a minute
TOOL_SECONDS = 10.0  # a Docker engine that hangs answers never
COMPOSE = Version("2.28")
"""The first whose releases all read COMPOSE_PROFILES from .env."""

_LOOK_AT_TENSORFLOW = """
import json, tensorflow as tf
gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
print(json.dumps({"version": tf.__version__, "gpus": [gpu.get("device_name", "a GPU") for gpu in gpus]}))
"""


def python() -> Finding:
    """Python's version against the range in pyproject.toml."""
    wanted = metadata.metadata(PROJECT)["Requires-Python"]
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        return Finding("Python", "ok", found)
    return Finding(
        "Python",
        "problem",
        f"{found}, and the project needs {wanted}",
        "Make .venv anew with another Python: make clean, then make PYTHON=/path/to/python3.12 setup.",
    )


def packages() -> Finding:
    """The installed versions against the ranges in pyproject.toml, which the tests have run with."""
    wanted = [
        requirement for requirement in map(Requirement, metadata.requires(PROJECT) or []) if _applies(requirement)
    ]
    faults = [fault for fault in map(_fault, wanted) if fault]
    if not faults:
        return Finding("packages", "ok", f"{len(wanted)}, all in the ranges that were tested")
    return Finding(
        "packages", "problem", "; ".join(faults), "make clean setup installs the versions in requirements.lock."
    )


def _applies(requirement: Requirement) -> bool:
    """Whether this machine's installation needs it without any extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _fault(requirement: Requirement) -> str:
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} {found} is not in {requirement.specifier}"


def tensorflow() -> list[Finding]:
    """Whether TensorFlow imports, in a process of its own that may crash or hang, and which GPUs it sees."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOOK_AT_TENSORFLOW],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=TENSORFLOW_SECONDS,
        )
    except subprocess.TimeoutExpired:
        found = f"its import does not end within {TENSORFLOW_SECONDS:g} s"
        return [Finding("TensorFlow", "problem", found, "Run python -c 'import tensorflow' and see where it waits.")]
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"])[-1]
        advice = "make clean setup installs it anew; python -c 'import tensorflow' shows all that it says."
        return [Finding("TensorFlow", "problem", f"does not import: {reason}", advice)]
    facts = json.loads(done.stdout.splitlines()[-1])
    return [Finding("TensorFlow", "ok", facts["version"]), _gpu(facts["gpus"])]


def _gpu(visible: list[str]) -> Finding:
    """What TensorFlow sees; where that is none, why."""
    if visible:
        return Finding("GPU", "ok", ", ".join(visible))
    on_cpu = "TensorFlow sees none and computes on the CPU"
    if shutil.which("nvidia-smi") is None:
        advice = "On a machine with an NVIDIA GPU: install NVIDIA's driver, then pip install -e '.[gpu]'."
        return Finding("GPU", "note", f"{on_cpu}; there is no nvidia-smi, so no NVIDIA driver", advice)
    listed = _output("nvidia-smi", "--list-gpus")
    if not listed:
        advice = "Run nvidia-smi and do as it says; after a driver's upgrade the machine must be started anew."
        return Finding("GPU", "note", f"{on_cpu}; nvidia-smi reaches no GPU", advice)
    here = listed.splitlines()[0].split(" (")[0]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        advice = "Unset the variable, or set it to the GPU's number, as in CUDA_VISIBLE_DEVICES=0."
        return Finding(
            "GPU", "note", f"{on_cpu}; the driver has {here}, and CUDA_VISIBLE_DEVICES is '{hidden}'", advice
        )
    advice = "pip install -e '.[gpu]' installs CUDA's libraries; TF_CPP_MIN_LOG_LEVEL=0 zoo models says which it lacks."
    return Finding("GPU", "note", f"{on_cpu}; the driver has {here}", advice)


def docker() -> list[Finding]:
    """Docker's client, its engine, and compose: for TensorFlow Serving. The local model server does without."""
    if shutil.which("docker") is None:
        return [
            Finding(
                "Docker",
                "note",
                "is not installed; zoo serve does without",
                "For TensorFlow Serving install Docker Engine with its compose plugin.",
            )
        ]
    return [*_engine(), _compose()]


def _engine() -> list[Finding]:
    engine = _output("docker", "version", "--format", "{{.Server.Version}}")
    if engine:
        return [Finding("Docker", "ok", f"engine {engine}"), *_gpu_containers()]
    found = "the client is there, and no engine answers; zoo serve does without"
    advice = (
        "Start the engine (systemctl start docker), or let DOCKER_HOST name one; docker version says what is wrong."
    )
    return [Finding("Docker", "note", found, advice)]


def _gpu_containers() -> list[Finding]:
    """Whether containers can have this machine's GPU; nothing where it has none."""
    if not _output("nvidia-smi", "--list-gpus"):
        return []
    name = "GPU in Docker"
    if '"nvidia"' in _output("docker", "info", "--format", "{{json .Runtimes}}"):
        return [Finding(name, "ok", "the engine has NVIDIA's runtime")]
    return [
        Finding(
            name,
            "note",
            "the engine has no NVIDIA runtime; TensorFlow Serving would not start on the GPU",
            "Install nvidia-container-toolkit, then run sudo nvidia-ctk runtime configure --runtime=docker and restart "
            "the engine; or serve on the CPU, as docs/operations.md says.",
        )
    ]


def _compose() -> Finding:
    plugin = _output("docker", "compose", "version", "--short")
    if plugin:
        return _compose_release(plugin)
    return Finding(
        "Docker compose",
        "note",
        "the plugin is not there; zoo serve does without",
        "For docker compose up install the package docker-compose-plugin of Docker's own repository.",
    )


def _compose_release(found: str) -> Finding:
    try:
        is_new_enough = Version(found.removeprefix("v").partition("-")[0]) >= COMPOSE
    except InvalidVersion:  # a build of somebody's own
        is_new_enough = True
    if is_new_enough:
        return Finding("Docker compose", "ok", found)
    return Finding(
        "Docker compose",
        "note",
        f"{found}, and docker-compose.yml needs {COMPOSE} or newer",
        "Upgrade the package docker-compose-plugin: older releases may ignore COMPOSE_PROFILES in .env.",
    )


def _output(*command: str) -> str:
    """What a tool says; nothing where it fails, is away or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TOOL_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
