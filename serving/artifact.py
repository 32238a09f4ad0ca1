"""What lies beside the graph in an exported SavedModel; read without TensorFlow."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from serving.errors import ServingError

LABELS = "assets/labels.txt"
EXTRA = "assets.extra"
WARM_UP = "tf_serving_warmup_requests"  # TensorFlow Serving's name for it
REFERENCE = "reference.npz"
LINEAGE = "lineage.json"


def read_lineage(version_folder: Path) -> dict[str, Any]:
    """Where a version comes from; empty where nothing tells."""
    try:
        return json.loads((version_folder / EXTRA / LINEAGE).read_text("utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def read_reference(version_folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The real inputs that lie beside a version, by the names of the signatures' inputs, and what the network answered:
    probabilities float32 [count, classes]. Raises ServingError where there are none."""
    try:
        with np.load(version_folder / EXTRA / REFERENCE, allow_pickle=False) as file:
            inputs = dict(file)
        return inputs, inputs.pop("probabilities")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ServingError(
            f"{version_folder} is no export with reference outputs ({error}); move it away and publish its run anew."
        ) from error


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file of a SavedModel but its lineage."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != LINEAGE):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
