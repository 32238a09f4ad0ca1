"""Do exported versions load and answer in the TensorFlow release that the TensorFlow Serving image is built on?

    python docker/check_serving_release.py                            the newest served version
    python docker/check_serving_release.py artifacts/models/lenet5/1  others, as many as are named

TensorFlow Serving's release 2.20.0 holds TensorFlow 2.20; the exports are written by the release that this project is
installed with. Here a virtual environment gets the image's release, and in it `python -m serving.verify` loads each
version into a Session, as TensorFlow Serving does, and asks all its signatures for the outputs that the network gave
when it was exported. The first call installs TensorFlow: a download of some 600 MB.
"""

import argparse
import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from pipelines.doctor.served import served_models, served_versions
from pipelines.home import home, models_config
from serving.errors import ServingError

ROOT = Path(__file__).parents[1]
COMPOSE_FILE = ROOT / "docker-compose.yml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check each version; 0 if all answer as they should, or 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="a version's folder; without one the newest served"
    )
    parser.add_argument("--tensorflow", metavar="VERSION", help="the release; by default that of the image's tag")
    parser.add_argument(
        "--venv",
        type=Path,
        metavar="FOLDER",
        help="where the release is installed, or will be; by default below ZOO_HOME",
    )
    parser.add_argument("--python", metavar="FILE", help="an interpreter that has TensorFlow: nothing is installed")
    options = parser.parse_args(arguments)
    try:
        folders = options.folders or [newest_served()]
        python = options.python or installed(options.tensorflow or image_release(), options.venv)
        reports = [check(python, folder) for folder in folders]
    except ServingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0 if all(reports) else 1


def image_release() -> str:
    """The TensorFlow release of the image that docker-compose.yml starts where no other is asked for."""
    found = re.search(r"tensorflow/serving:\$\{SERVING_TAG:-(\d+\.\d+\.\d+)\}", COMPOSE_FILE.read_text("utf-8"))
    if not found:
        raise ServingError(f"{COMPOSE_FILE} has no tensorflow/serving image with a SERVING_TAG; name --tensorflow.")
    return found[1]


def newest_served() -> Path:
    """Of the versions in `models.config`, the one that was published last."""
    served = [model.base_path / str(number) for model in served_models() for number in served_versions(model)]
    if not served:
        raise ServingError(f"Nothing is published: {models_config()} serves nothing; name a FOLDER.")
    there = [folder for folder in served if folder.is_dir()]
    if not there:
        raise ServingError(f"No version that {models_config()} serves is there; name a FOLDER.")
    return max(there, key=lambda folder: folder.stat().st_mtime)


def installed(release: str, folder: Path | None) -> str:
    """The interpreter of a virtual environment with this release of TensorFlow, which is made on first use."""
    folder = folder or home() / "serving-release" / release
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing TensorFlow {release}, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
    # Of TensorFlow Serving's messages this project's release, for that is what serving/ is written with; those of
    # 2.20.0 do not import with the protobuf that TensorFlow 2.20 itself installs. Without their dependencies, which
    # would bring this project's TensorFlow.
    messages = f"tensorflow-serving-api=={version('tensorflow-serving-api')}"
    for what in ([f"tensorflow=={release}"], ["--no-deps", messages]):
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServingError(f"{what[-1]} cannot be installed into {folder}: {last_line(done.stderr)}")
    return str(python)


def check(python: str, folder: Path) -> bool:
    """Print how a version answers in the other interpreter, or in one sentence why it does not."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [python, "-m", "serving.verify", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except OSError as error:
        raise ServingError(f"'{python}' is no Python that can be started ({error.strerror}).") from error
    name = "/".join(folder.resolve().parts[-2:])
    if done.returncode:
        print(f"Error: {name}: {last_line(done.stderr)}", file=sys.stderr)
        return False
    print(name)
    for line in done.stdout.splitlines():
        print(f"  {line}")
    return True


def last_line(text: str) -> str:
    """Where Python and pip say what went wrong."""
    return (text.strip().splitlines() or ["no reason was given"])[-1]


if __name__ == "__main__":
    sys.exit(main())
