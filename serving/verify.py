"""Does a SavedModel answer as the network it was made from? Asked in a fresh process that loads nothing else.

`python -m serving.verify FOLDER` loads it as a model server does and compares all its signatures, three of images or
one of signals, with the reference outputs that lie beside it. It prints TensorFlow's version and by how much each
signature differs, and ends with status 0, or 1 and a sentence.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from serving.artifact import LABELS, read_reference
from serving.errors import ServingError
from serving.quiet import import_tensorflow, make_tensorflow_lean

TOLERANCE = 1e-5


def verify_in_fresh_process(folder: Path) -> None:
    """Raise ServingError with the reason unless the SavedModel reproduces its reference outputs to 1e-5."""
    command = [sys.executable, "-m", "serving.verify", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"]
        raise ServingError(f"The export does not answer as the network does: {reason[-1]}")


def verify(folder: Path) -> dict[str, float]:
    """Compare in this process; by signature, the largest difference of a probability. Raises ServingError."""
    import_tensorflow()
    import tensorflow as tf

    from serving.model_server.session import SavedModelSession, SessionOptions
    from serving.model_server.signatures import Servable

    reference, expected = read_reference(folder)
    try:
        # As bytes, which is what the signatures answer; a name may hold what text counts as an end of line.
        labels = np.array((folder / LABELS).read_bytes().removesuffix(b"\n").split(b"\n"), dtype=object)
    except OSError as error:
        raise ServingError(f"{folder} has no labels ({error}); move it away and publish its run anew.") from error
    servable = Servable(SavedModelSession(folder, SessionOptions()))
    class_id = expected.argmax(axis=1)
    differences: dict[str, float] = {}

    def compare(signature: str, inputs: dict[str, np.ndarray]) -> None:
        outputs = servable.predict(signature, inputs)
        differences[signature] = _close(outputs["probabilities"], expected, f"{signature}: probabilities")
        _equal(outputs["class_id"], class_id, f"{signature}: class_id")
        _equal(outputs["label"], labels[class_id], f"{signature}: label")

    if "signal" in reference:
        compare("serving_default", {"signal": reference["signal"]})
        return differences
    encoded = reference["image_bytes"].astype(object)
    compare("serving_default", {"image": reference["image"]})
    compare("predict_bytes", {"image_bytes": encoded})
    feature = tf.train.Feature
    examples = np.array(
        [
            tf.train.Example(
                features=tf.train.Features(
                    feature={"image/encoded": feature(bytes_list=tf.train.BytesList(value=[png]))}
                )
            ).SerializeToString()
            for png in encoded
        ],
        dtype=object,
    )
    ranked = servable.predict("classify", {"inputs": examples})
    order = np.argsort(-expected, axis=1, kind="stable")
    expected_scores = np.take_along_axis(expected, order, axis=1)
    differences["classify"] = _close(ranked["scores"], expected_scores, "classify: scores")
    _equal(ranked["classes"][:, 0], labels[order[:, 0]], "classify: first class")
    return differences


def _close(received: np.ndarray, expected: np.ndarray, what: str) -> float:
    """The largest difference. Raises ServingError where it is more than is allowed."""
    if received.shape != expected.shape:
        raise ServingError(f"{what} have the shape {received.shape}, expected {expected.shape}.")
    difference = float(np.abs(received - expected).max())
    if not difference <= TOLERANCE:
        raise ServingError(f"{what} differ by up to {difference:.2g}, at most {TOLERANCE:g} is allowed.")
    return difference


def _equal(received: np.ndarray, expected: np.ndarray, what: str) -> None:
    if not np.array_equal(received, expected):
        raise ServingError(f"{what} is {list(received)}, expected {list(expected)}.")


if __name__ == "__main__":
    make_tensorflow_lean()
    try:
        found = verify(Path(sys.argv[1]))
    except ServingError as error:
        sys.exit(" ".join(str(error).split()))  # one line, of TensorFlow's own words too
    import tensorflow

    print(f"TensorFlow {tensorflow.__version__}")
    for name, largest in found.items():
        print(f"{name:<16} probabilities differ by at most {largest:.2g}")
