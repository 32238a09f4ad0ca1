"""Where a run comes from: the sources' commit, the versions of what they need, the machine."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("conv-zoo", "tensorflow", "keras", "keras-tuner", "mlflow", "numpy")


def provenance_tags() -> dict[str, str]:
    """What a run is tagged with."""
    return {
        **{f"zoo.version.{package}": version(package) for package in PACKAGES},
        "zoo.version.python": platform.python_version(),
        "zoo.machine": machine(),
        **git_tags(),
    }


def git_tags() -> dict[str, str]:
    """The commit of the sources and whether their code differs from it.

    They are a git checkout, or an image that was told at its making what `git describe --dirty` said (ZOO_GIT_COMMIT).
    """
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        # What decides a result: a table that grows by one makes no other sources.
        places = (":/zoo", ":/pipelines", ":/serving", ":(top,exclude)pipelines/results.csv")
        changed = bool(git("status", "--porcelain", "--", *places))
    except OSError:  # no git on this machine
        commit, changed = "", False
    if not commit:
        told = os.environ.get("ZOO_GIT_COMMIT", "")
        commit, changed = told.removesuffix("-dirty"), told.endswith("-dirty")
    return {"mlflow.source.git.commit": commit, "zoo.git_changed": str(changed).lower()} if commit else {}


def machine() -> str:
    """What computes, as in `AMD EPYC 7B13, 2 cores`; with `, NVIDIA H100` behind it where TensorFlow uses one."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text("utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    tensorflow: Any = sys.modules.get("tensorflow")  # what has not been imported uses no GPU
    gpus = tensorflow.config.list_physical_devices("GPU") if tensorflow else []
    found = [tensorflow.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join([name, f"{cores()} cores", *found])


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
