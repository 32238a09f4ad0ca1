"""The evaluation as one page of HTML that needs no other file: numbers, figures, recipe and lineage."""

import base64
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from pipelines.evaluation.answers import ClassScores
from pipelines.evaluation.findings import Findings
from pipelines.files import png

MOST_ROWS = 50
"""Of the table of classes; of more, those of the lowest F1."""
LARGE = 7.0
"""Inches of a figure's width, from which it has a row of the page to itself."""
CAPTIONS = {
    "confusion_matrix.png": ("Confusion matrix", "How often each class, a row, was taken for each class, a column."),
    "calibration.png": (
        "Calibration",
        "Of the answers that are so sure, how many are right. Below the diagonal the network is surer than it is "
        "right; the expected calibration error is the mean distance.",
    ),
    "misclassified.png": ("Misclassified", "The true label is green, the prediction red."),
    "learning_curves.png": (
        "Learning curves",
        "Of the training examples, and of those held out for validation, if any.",
    ),
}

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    title: str,
    subtitle: str,
    findings: Findings,
    figures: Mapping[str, Figure],
    lineage: Mapping[str, str],
    recipe: str | None,
) -> str:
    """The page. `figures` are embedded by their file names, those of CAPTIONS; `recipe` is YAML; texts are escaped."""
    classes = findings.evaluation.classes
    shown = classes if len(classes) <= MOST_ROWS else findings.evaluation.worst_classes(MOST_ROWS)
    return _environment.get_template("page.html").render(
        title=title,
        subtitle=subtitle,
        headlines=_headlines(findings),
        figures=[
            (*caption, figures[name].get_figwidth() > LARGE, _embedded(figures[name]))
            for name, caption in CAPTIONS.items()
            if name in figures
        ],
        classes=[_cells(scores) for scores in shown],
        class_count=len(classes),
        lineage=lineage,
        recipe=recipe,
    )


def _headlines(findings: Findings) -> list[tuple[str, str, str]]:
    """(what, number, remark) of each number."""
    evaluation, size, speed = findings.evaluation, findings.size, findings.speed
    low, high = evaluation.accuracy_interval
    wrong = int((evaluation.predicted != evaluation.split.labels).sum())
    kind = "signals" if evaluation.split.has_signals else "images"
    rows = [("accuracy", _percent(evaluation.accuracy), f"{100 * low:.2f} to {100 * high:.2f} % at 95 % confidence")]
    if evaluation.top5_accuracy is not None:
        rows.append(("top-5 accuracy", _percent(evaluation.top5_accuracy), "the class is among the five likeliest"))
    rows += [
        ("wrong", f"{wrong:,}", f"of {len(evaluation.split):,} {kind}"),
        ("loss", f"{evaluation.loss:.4f}", "mean cross-entropy, nats"),
        ("calibration error", _percent(evaluation.calibration.error), "expected, 15 bins"),
        ("parameters", f"{size.parameters:,}", "trainable"),
    ]
    if size.operations is not None:
        rows.append(("operations", f"{size.operations:,}", "multiplications and additions for one answer"))
    return [
        *rows,
        ("throughput", f"{speed.images_per_second:,.0f}", f"{kind} per second, {speed.batch_size} at once"),
        ("latency", f"{speed.latency_ms:.2f} ms", f"alone, median; 95 % take at most {speed.latency_p95_ms:.2f} ms"),
    ]


def _cells(scores: ClassScores) -> tuple[str, ...]:
    shares = (f"{100 * share:.2f}" for share in (scores.precision, scores.recall, scores.f1))
    return scores.name, *shares, f"{scores.count:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _embedded(figure: Figure) -> Markup:
    """A PNG as the address of an image."""
    return Markup(f"data:image/png;base64,{base64.b64encode(png(figure)).decode()}")
