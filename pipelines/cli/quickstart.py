"""`zoo quickstart`: the main job in one go."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.train import JsonOption

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np

    from pipelines.experiment import TrainedRun
    from pipelines.publication import Release
    from serving.local_server import LocalServer

RECIPE = "digits_cnn"
TRIALS, TRIAL_EPOCHS = 3, 3
SLOWEST = 1000.0
"""Milliseconds of one request: it shall work on a machine that is busy otherwise."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(quickstart)


def quickstart(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training run.")] = 1, as_json: JsonOption = False
) -> None:
    """Train, track, tune, publish, serve and ask a network, offline, on real handwritten digits."""
    begun = time.monotonic()
    from pipelines.cli.release import publish_run
    from pipelines.cli.train import train_once
    from pipelines.cli.tune import run_search
    from pipelines.recipes import load_recipe
    from pipelines.tuning.plan import Plan
    from serving.parity import largest_difference
    from serving.verify import TOLERANCE

    recipe = load_recipe(RECIPE).override({"seed": seed})
    _say(1, "train", begun)
    run = train_once(recipe)
    _say(2, "tune", begun)
    search = run_search(recipe.override({"epochs": TRIAL_EPOCHS}), Plan(trials=TRIALS, seed=seed))
    _say(3, "publish", begun)
    with _server() as server:  # starts meanwhile, and finds the new version in models.config as soon as it is there
        release = publish_run(run.run_id)
        _say(4, "promote, serve and ask", begun)
        label, refusal = _promoted(server, release)
        images, labels = _one_of_each(run)
        keras_answers = _keras_probabilities(run, images)
        served = _ask(server, release, label, images)
    largest = max(largest_difference(probabilities, keras_answers) for probabilities in served.values())
    if largest > TOLERANCE:
        from pipelines.errors import PipelineError

        raise PipelineError(f"The served answers differ from Keras's by {largest:.2g}; at most {TOLERANCE:g} is right.")
    seconds = time.monotonic() - begun
    if as_json:
        print_json(
            {
                "test_accuracy": run.test_accuracy,
                "run_id": run.run_id,
                "search_run_id": search.run_id,
                "model": release.name,
                "version": release.version,
                "label": label,
                "largest_difference": largest,
                "seconds": seconds,
            }
        )
        return
    out.print(_answers_table(labels, {"Keras": keras_answers, **served}, run.data.class_names))
    table = Table(show_header=False)
    table.add_row("test accuracy", f"[bold]{percent(run.test_accuracy)}[/bold] of {len(run.data.test)} real digits")
    table.add_row("MLflow run", run.run_id)
    table.add_row("MLflow search", f"{search.run_id} ({len(search.trials)} trials)")
    table.add_row("served model", f"{release.name} version {release.version}, {label}")
    if refusal:
        table.add_row("not stable, because", refusal)
    table.add_row("gRPC, REST and Keras", f"equal to {largest:.1g}")
    table.add_row("time", f"{seconds:.0f} s")
    out.print(table)
    out.print("Try next:")
    for command, what in (
        ("zoo ui", "see the runs, their curves and figures in MLflow"),
        (f"zoo tune {RECIPE} --trials 10", "search for better settings"),
        ("zoo serve", "serve it; then, elsewhere: zoo predict docs/images/seven.png"),
    ):
        out.print(f"  [bold].venv/bin/{command}[/bold]   {what}")


def _say(step: int, what: str, begun: float) -> None:
    err.print(f"[bold]{step}/4 {what}[/bold] [dim]({time.monotonic() - begun:.0f} s)[/dim]")


def _one_of_each(run: "TrainedRun") -> "tuple[np.ndarray, np.ndarray]":
    """The first test image of each class, and their labels."""
    import numpy as np

    first = np.unique(run.data.test.labels, return_index=True)[1]
    return run.data.test.images[first], run.data.test.labels[first]


def _keras_probabilities(run: "TrainedRun", images: "np.ndarray") -> "np.ndarray":
    import keras

    return keras.ops.convert_to_numpy(keras.ops.softmax(run.model.predict(images, verbose=0)))


def _server() -> "AbstractContextManager[LocalServer]":
    """A model server on free ports that watches this project's models.config."""
    from pipelines.home import models_folder
    from serving.local_server import local_server
    from serving.repository import ModelRepository

    config = ModelRepository(models_folder()).ensure_config()
    return local_server([f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1"])


def _promoted(server: "LocalServer", release: "Release") -> tuple[str, str]:
    """The new version's label after the gate, and why it is not the stable one."""
    from pipelines.cli.release import promote_with_steps
    from pipelines.gate import Limits
    from pipelines.promotion import GateRefusedError
    from serving.repository import CANDIDATE, STABLE, candidate_name

    server.wait_for(candidate_name(release.name), release.version)
    try:
        promote_with_steps(release.name, release.version, [server.grpc_address], Limits(latency=SLOWEST))
    except GateRefusedError as refused:
        return CANDIDATE, "; ".join(refused.report.reasons)
    return STABLE, ""


def _ask(server: "LocalServer", release: "Release", label: str, images: "np.ndarray") -> "dict[str, np.ndarray]":
    """The served version's probabilities, by transport."""
    from serving.client import connect
    from serving.repository import STABLE, candidate_name

    name = release.name if label == STABLE else candidate_name(release.name)
    answers = {}
    for transport, address in (("gRPC", server.grpc_address), ("REST", server.rest_address)):
        with connect(address) as client:
            outputs = client.predict(name, {"image": images}, version=release.version)
            answers[transport] = outputs["probabilities"]
    return answers


def _answers_table(labels: "np.ndarray", answers: "dict[str, np.ndarray]", class_names: tuple[str, ...]) -> Table:
    """What each way of asking says of each image."""
    table = Table("digit", *answers, title="One test image of each digit")
    for i, label in enumerate(labels):
        cells = [f"{class_names[row[i].argmax()]}  ({percent(float(row[i].max()))})" for row in answers.values()]
        table.add_row(class_names[label], *cells)
    return table
