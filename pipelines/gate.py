"""The gate: what a candidate has to show before it becomes stable.

Validation decides, never the test images, whose figures are reported beside it.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipelines.errors import PipelineError, UsageError
from pipelines.evaluation import evaluate
from pipelines.lineage import validation_of
from pipelines.networks import network_of
from pipelines.tracking import dataset_of, find_run, recipe_of
from pipelines.training import examples
from serving.artifact import read_lineage
from serving.client import GrpcClient
from serving.images import encode_png
from serving.parity import as_input, largest_difference, probabilities_of
from serving.repository import ModelRepository, candidate_name

WARM_UP, TIMED = 5, 100
"""Requests of one image or signal each: first those that do not count, then those that are timed."""


@dataclass(frozen=True)
class Limits:
    """What the gate lets through."""

    margin: float = 0.5
    """Percentage points by which validation accuracy may be below that of the stable version."""
    tolerance: float = 1e-4
    """Of a probability: how far the endpoint may be from Keras."""
    latency: float = 100.0
    """Milliseconds that 95 of 100 requests of one image may take."""
    images: int = 64
    """Real ones that the endpoint and Keras are asked about."""
    other_data: bool = False
    """Whether the two accuracies may be of different datasets, or the stable version's unknown."""

    def __post_init__(self) -> None:
        for name in ("margin", "tolerance", "latency"):
            if not math.isfinite(getattr(self, name)):
                raise UsageError(f"--{name} is {getattr(self, name)}; expected a number.")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str
    """A sentence."""
    values: dict[str, float | None]


@dataclass(frozen=True)
class Report:
    """What the gate found. `stable` is the version that was compared with, None for a model's first."""

    model: str
    version: int
    run_id: str
    stable: int | None
    servers: list[str]
    limits: Limits
    checks: list[Check]
    test_accuracy: dict[str, float | None]
    """Of the candidate and of the stable version; for information."""

    @property
    def passed(self) -> bool:
        """Whether it may become stable."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why not."""
        return [check.found for check in self.checks if not check.passed]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "passed": self.passed}


def examine(
    repository: ModelRepository,
    name: str,
    version: int,
    stable: int | None,
    servers: Sequence[GrpcClient],
    limits: Limits,
) -> Report:
    """Look at a version that each of the servers offers as the candidate.

    Raises UsageError or PipelineError where its run, network or dataset cannot be had.
    """
    facts = read_lineage(repository.version_folder(name, version))
    before = read_lineage(repository.version_folder(name, stable)) if stable is not None else {}
    run = _run_of(name, version, facts["run_id"])
    recipe = recipe_of(run)
    data = dataset_of(run, recipe)
    split = examples(recipe, data).some_of_each_class(limits.images)
    inputs, expected = split.images, evaluate(network_of(run), split, data.class_names).probabilities
    checks = [_validation(_held_out(facts), stable, _held_out(before), limits)]
    for client in servers:
        checks.append(_parity(client, name, version, inputs, expected, limits))
        checks.append(_latency(client, name, version, inputs, limits))
    return Report(
        name,
        version,
        facts["run_id"],
        stable,
        [client.address for client in servers],
        limits,
        checks,
        {"candidate": _test_accuracy(facts), "stable": _test_accuracy(before)},
    )


def _validation(mine: Any, stable: int | None, other: Any, limits: Limits) -> Check:
    """Not worse than the stable version by more than the margin, on the same held-out images."""

    def check(passed: bool, found: str) -> Check:
        accuracies = {"candidate": (mine or {}).get("accuracy"), "stable": (other or {}).get("accuracy")}
        return Check("validation", passed, found, {**accuracies, "margin": limits.margin})

    if not mine:
        return check(
            False,
            "nothing tells how it does on held-out images: its run trained on all of them, and no other of its recipe "
            "is known; publish a run of `zoo train`, or one that `zoo tune` made",
        )
    accuracy = 100 * mine["accuracy"]
    if not math.isfinite(accuracy):
        return check(False, f"its accuracy on held-out images is {accuracy}")
    if stable is None:
        return check(True, f"{accuracy:.2f} % on held-out images; there is no stable version to compare with")
    if not other:
        says = f"{accuracy:.2f} % on held-out images; nothing tells how version {stable}, the stable one, does on them"
        return check(limits.other_data, says + ("" if limits.other_data else "; --other-data takes it so"))
    if mine["dataset_digest"] != other["dataset_digest"] and not limits.other_data:
        return check(
            False,
            f"version {stable} was measured on the dataset {str(other['dataset_digest'])[:12]} and this one on "
            f"{str(mine['dataset_digest'])[:12]}, which does not compare; --other-data takes each as it is",
        )
    below = 100 * other["accuracy"] - accuracy
    where = f"{accuracy:.2f} % on held-out images, version {stable} {100 * other['accuracy']:.2f} %"
    # Of a whole number of images: what is written as 0.5 points may be 0.5000000000000004.
    if not below <= limits.margin + 1e-9:
        return check(False, f"{where}: {below:.2f} points worse, and {limits.margin:g} are allowed")
    return check(True, f"{where}; at most {limits.margin:g} points worse is allowed")


def _run_of(name: str, version: int, run_id: str) -> Run:
    try:
        return find_run(run_id)
    except UsageError:
        raise PipelineError(
            f"Run {run_id}, which {name} version {version} is of, is not in MLflow any more: its network cannot "
            "be asked; publish another run."
        ) from None


def _held_out(facts: dict[str, Any]) -> dict[str, Any] | None:
    """The validation figure of a version: what was written down when it was published, or else what its run tells."""
    if facts.get("validation") or not facts.get("run_id"):
        return facts.get("validation")
    try:
        run = find_run(facts["run_id"])
        return validation_of(run, recipe_of(run))
    except (UsageError, MlflowException):  # deleted since
        return None


def _parity(
    client: GrpcClient, name: str, version: int, inputs: np.ndarray, expected: np.ndarray, limits: Limits
) -> Check:
    """The endpoint's answers are Keras's."""
    ways: dict[str, Mapping[str, Any]] = {"serving_default": as_input(inputs)}
    if inputs.ndim == 4:
        ways["predict_bytes"] = {"image_bytes": [encode_png(image) for image in inputs]}
    difference = 0.0
    for signature, values in ways.items():
        outputs = client.predict(candidate_name(name), values, signature=signature, version=version)
        difference = max(difference, largest_difference(probabilities_of(outputs, client.address), expected))
    found = f"{client.address} is {difference:.1e} from Keras on {len(inputs)} real {_what(inputs)}"
    passed = difference <= limits.tolerance
    suffix = "" if passed else f", and {limits.tolerance:.0e} is allowed"
    return Check("parity", passed, found + suffix, {"difference": difference, "tolerance": limits.tolerance})


def _latency(client: GrpcClient, name: str, version: int, inputs: np.ndarray, limits: Limits) -> Check:
    """How long one image takes, from request to answer."""
    milliseconds = []
    for i in range(WARM_UP + TIMED):
        one = as_input(inputs[i % len(inputs)][np.newaxis])
        begun = time.perf_counter()
        client.predict(candidate_name(name), one, version=version)
        milliseconds.append(1000 * (time.perf_counter() - begun))
    cuts = statistics.quantiles(milliseconds[WARM_UP:], n=100)
    p50, p95 = cuts[49], cuts[94]
    passed = p95 <= limits.latency
    found = f"{client.address} answers a request of one in {p50:.1f} ms, 95 of 100 within {p95:.1f} ms"
    suffix = f"; the budget is {limits.latency:g} ms"
    return Check("latency", passed, found + suffix, {"p50_ms": p50, "p95_ms": p95, "budget_ms": limits.latency})


def _what(inputs: np.ndarray) -> str:
    return "signals" if inputs.ndim == 3 else "images"


def _test_accuracy(facts: dict[str, Any]) -> float | None:
    return facts.get("metrics", {}).get("test_accuracy")
