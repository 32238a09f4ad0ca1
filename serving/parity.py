"""How far the answers of an endpoint are from those of the network."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from serving.artifact import read_reference
from serving.client import Client
from serving.errors import ServingError

SAME_NETWORK = 1e-3
"""Of a probability, between answers of one network on two processors; another network is further away."""


def largest_difference(received: np.ndarray, expected: np.ndarray) -> float:
    """Of any probability; infinite where one is no number, or the shapes are not the same."""
    if received.shape != expected.shape:
        return float("inf")
    apart = float(np.abs(received - expected).max(initial=0.0))
    return apart if apart == apart else float("inf")


def probabilities_of(outputs: Mapping[str, np.ndarray], who: str) -> np.ndarray:
    """The probabilities in an answer. Raises ServingError, naming `who` answered, where there are none."""
    if "probabilities" not in outputs:
        raise ServingError(f"{who} answers with {sorted(outputs)}; expected probabilities. Is it another server?")
    return outputs["probabilities"]


def as_input(examples: np.ndarray) -> dict[str, np.ndarray]:
    """Images uint8 [batch, height, width, channels], or signals float32 [batch, samples, 1], for `serving_default`."""
    return {"signal" if examples.ndim == 3 else "image": examples}


def difference_from_export(
    client: Client, served_name: str, version: int | None, label: str | None, folder: Path
) -> tuple[float, int]:
    """Ask for the real inputs that lie beside the version in `folder`: how far the answers are from those beside them,
    and the version that gave them."""
    reference, expected = read_reference(folder)
    inputs = as_input(reference["signal"] if "signal" in reference else reference["image"])
    answer = client.ask(served_name, inputs, version=version, label=label)
    return largest_difference(probabilities_of(answer.outputs, client.address), expected), answer.version
