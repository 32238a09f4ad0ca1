"""What lies beside the graph in an exported SavedModel; read without TensorFlow."""

import hashlib
import json
from pathlib import Path
from typing import Any

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


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file of a SavedModel but its lineage."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != LINEAGE):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
