"""`zoo serve` and `zoo predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Column, Table

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.train import JsonOption
from pipelines.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from serving.client import Signature

GRPC_PORT, REST_PORT = 8500, 8501  # TensorFlow Serving's


def register(app: typer.Typer) -> None:
    """Add the commands."""
    # The flags are TensorFlow Serving's, which are not read as Typer reads options.
    unparsed = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=unparsed)(serve)
    app.command()(predict)


def serve(context: typer.Context) -> None:
    """Start the local model server; it takes TensorFlow Serving's flags (zoo serve --help lists them)."""
    import sys
    from importlib.resources import files

    from serving.model_server.__main__ import block_stop_signals, main

    flags = list(context.args)
    given = {flag.lstrip("-").partition("=")[0] for flag in flags}
    if not given & {"model_config_file", "model_name", "model_base_path", "help", "version"}:
        block_stop_signals()
        from pipelines.home import models_folder
        from serving.repository import ModelRepository

        repository = ModelRepository(models_folder())
        flags.append(f"--model_config_file={repository.ensure_config()}")
        if not repository.served():
            err.print("[dim]nothing is published yet: waiting for the first `zoo publish`[/dim]")
        if "model_config_file_poll_wait_seconds" not in given:
            flags.append("--model_config_file_poll_wait_seconds=1")  # so that what is published is served at once
    if "monitoring_config_file" not in given:
        flags.append(f"--monitoring_config_file={files('serving') / 'config' / 'monitoring.config'}")
    if "rest_api_port" not in given:
        flags.append(f"--rest_api_port={REST_PORT}")
    sys.exit(main(flags))


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Image files, or folders of them; or WAV files.")
    ],
    model: Annotated[str | None, typer.Option(help="Served model; by default the one that was published.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Ask this version rather than a label.")] = None,
    label: Annotated[str, typer.Option(help="Ask the version with this label, or the candidate.")] = "stable",
    rest: Annotated[bool, typer.Option("--rest", help="Ask over REST rather than gRPC.")] = False,
    server: Annotated[
        str | None, typer.Option(help="HOST:PORT; by default this machine's 8500, or 8501 for REST.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for an answer.")] = 30.0,
    invert: Annotated[bool, typer.Option("--invert", help="Swap light and dark, for dark ink on light paper.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a model server what is on some images, or in some sounds.

    With --json each answer comes with the version that gave it, and with that version's run, commit and dataset.
    """
    from serving.client import connect
    from serving.images import find_images, read_as_png
    from serving.repository import CANDIDATE, candidate_name
    from serving.signals import read_wav

    files = find_images(paths)
    sounds = [file for file in files if file.suffix.lower() == ".wav"]
    if sounds and (invert or len(sounds) < len(files)):
        other = "--invert, which is for images" if invert else f"the image '{(set(files) - set(sounds)).pop()}'"
        raise UsageError(f"'{sounds[0]}' is a sound and was given with {other}; ask in two commands.")
    loaded = [read_wav(file) if sounds else read_as_png(file, invert=invert) for file in files]
    address = server or f"localhost:{REST_PORT if rest else GRPC_PORT}"
    if rest and "://" not in address:
        address = f"http://{address}"
    name = model or _only_model()
    kind = "signal" if sounds else "image"
    asked = name
    target: dict[str, Any] = {"version": version, "label": label}
    if label == CANDIDATE and version is None:
        # It is served under a name of its own.
        asked, target = candidate_name(name), {"label": None}
    answers = []
    with connect(address, timeout) as client:
        signature, alias, inputs = _for_model(name, client.metadata(asked, **target), loaded, is_sound=bool(sounds))
        for first in range(0, len(inputs), BATCH):
            answer = client.ask(asked, {alias: inputs[first : first + BATCH]}, signature=signature, **target)
            outputs = answer.outputs
            if not {"label", "probabilities"} <= set(outputs):
                raise PipelineError(f"{name} answers with {sorted(outputs)}; expected label and probabilities.")
            for file, text, shares in zip(files[first:], outputs["label"], outputs["probabilities"], strict=False):
                answers.append((file, str(text), shares, answer.version))
    if as_json:
        origins = _origins(name, {number for *_, number in answers})
        print_json(
            [
                {kind: str(file), "label": text, "probabilities": shares.tolist(), **origins[number]}
                for file, text, shares, number in answers
            ]
        )
        return
    out.print(_table(kind, answers))
    numbers = sorted({number for *_, number in answers})
    out.print(f"answered by     {name} version {' and '.join(map(str, numbers))}")


def _origins(name: str, versions: set[int]) -> dict[int, dict[str, Any]]:
    """Where each version comes from."""
    from dataclasses import asdict

    from pipelines.lineage import lineage_of

    return {version: asdict(lineage_of(name, version)) for version in versions}


def _for_model(
    name: str, signatures: "Mapping[str, Signature]", loaded: list[Any], *, is_sound: bool
) -> tuple[str, str, Any]:
    """The signature to ask, its input's name, and the files' contents as that takes them."""
    import numpy as np

    from serving.signals import loudest_stretch

    signal = signatures["serving_default"].inputs.get("signal") if "serving_default" in signatures else None
    if is_sound and signal is None:
        raise UsageError(f"{name} takes no sounds; ask it with image files, or name another model with --model.")
    if signal is None:
        return "predict_bytes", "image_bytes", loaded
    if not is_sound:
        raise UsageError(f"{name} takes sounds; ask it with WAV files, or name another model with --model.")
    return "serving_default", "signal", np.stack([loudest_stretch(samples, signal.shape[1]) for samples in loaded])


BATCH = 64  # files per request
MOST_COLUMNS = 10


def _only_model() -> str:
    """The one model in this project's `models.config`."""
    from pipelines.home import models_folder
    from serving.repository import ModelRepository

    names = list(ModelRepository(models_folder()).served())
    if len(names) == 1:
        return names[0]
    if not names:
        raise UsageError("Which model? Nothing is published here; name one that the server has with --model.")
    raise UsageError(f"Which model? {', '.join(names)} are published; name one with --model.")


def _table(kind: str, answers: "list[tuple[Path, str, np.ndarray[Any, Any], int]]") -> Table:
    """The label of each file and the probabilities (percent) of its classes, or of the likeliest where many."""
    classes = len(answers[0][2])
    columns = Column(kind, overflow="fold"), Column("label", no_wrap=True)
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if classes > MOST_COLUMNS:
        table.add_column("probability", no_wrap=True)
        for file, text, shares, _ in answers:
            table.add_row(escape(file.name), escape(text), percent(float(shares.max())))
        return table
    for i in range(classes):
        table.add_column(str(i), justify="right", no_wrap=True)
    for file, text, shares, _ in answers:
        likeliest = shares.argmax()
        cells = [f"{100 * share:.1f}" for share in shares]
        cells[likeliest] = f"[bold]{cells[likeliest]}[/bold]"
        table.add_row(escape(file.name), f"[bold]{escape(text)}[/bold]", *cells)
    table.title = "probabilities in percent"
    return table
