"""`zoo evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.train import JsonOption

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.evaluation import Findings

SECONDS = 3.0
"""For the measurement of speed."""
WORST = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|MODEL.keras", help="A run (its id, its start, or its recipe), or a Keras file."),
    ],
    split: Annotated[Literal["test", "validation"], typer.Option(help="Which images.")] = "test",
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="The dataset to ask a file about.")] = None,
    recipe: Annotated[str | None, typer.Option(metavar="RECIPE", help="The same, by a recipe that has it.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="By default artifacts/evaluations/NAME.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a network: accuracy, calibration, mistakes, speed; as numbers, figures and a page."""
    from serving.quiet import import_tensorflow

    err.print("[dim]loading the network and the dataset[/dim]")
    import_tensorflow()
    from pipelines.cli.progress import PredictionProgress
    from pipelines.evaluation import examine
    from pipelines.evaluation.sources import find_source, write_evaluation
    from pipelines.home import home

    found = find_source(source, split, dataset, recipe)
    with PredictionProgress(f"{found.title}: {split} split") as progress:
        findings = examine(found.model, found.split, found.data.class_names, SECONDS, [progress])
    files = write_evaluation(found, findings, output or home() / "evaluations" / found.name)
    if as_json:
        about = {"source": source, "run_id": found.run_id, "dataset": found.data.name, "split": split}
        print_json({**about, **findings.numbers(), "recorded": found.recorded, "files": files})
        return
    out.print(f"[bold]{escape(found.title)}[/bold]  [dim]{escape(found.subtitle)}[/dim]")
    for what, text in [*summary(findings, found.recorded), ("page", str(files[f"{split}.html"]))]:
        out.print(f"{what:<18}{text}", markup=False)


def summary(findings: "Findings", recorded: "Mapping[str, float]") -> list[tuple[str, str]]:
    """The numbers in lines of (what, text), and after each what the run recorded of the same split."""
    evaluation, size, speed = findings.evaluation, findings.size, findings.speed
    kind = "signals" if evaluation.split.has_signals else "images"
    low, high = evaluation.accuracy_interval
    interval = f"({100 * low:.2f} to {100 * high:.2f} % at 95 % confidence)"
    texts = {"accuracy": f"{percent(evaluation.accuracy)} {interval}"}
    if evaluation.top5_accuracy is not None:
        texts["top5_accuracy"] = percent(evaluation.top5_accuracy)
    texts["loss"] = f"{evaluation.loss:.4f}"
    texts["calibration_error"] = percent(evaluation.calibration.error)
    lines = []
    for metric, text in texts.items():
        if metric in recorded:
            value = recorded[metric]
            text += f"; the run recorded {f'{value:.4f}' if metric == 'loss' else percent(value)}"
        lines.append((metric.replace("_", " ").replace("top5", "top-5"), text))
    worst = (f"{scores.name} (F1 {percent(scores.f1)})" for scores in evaluation.worst_classes(WORST))
    operations = "unknown" if size.operations is None else f"{size.operations:,}"
    return [
        ("examples", f"{len(evaluation.split):,}"),
        *lines,
        ("worst classes", ", ".join(worst)),
        ("throughput", f"{speed.images_per_second:,.0f} {kind}/s, {speed.batch_size} at once"),
        ("latency", f"{speed.latency_ms:.2f} ms alone; 95 % within {speed.latency_p95_ms:.2f} ms"),
        ("size", f"{size.parameters:,} parameters, {operations} operations"),
    ]
