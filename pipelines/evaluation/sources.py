"""What `zoo evaluate` is pointed to: a run, or a `.keras` file with the dataset to ask it about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
from mlflow.entities import Run

from pipelines.datasets import Dataset, Split, list_datasets, load_dataset
from pipelines.errors import UsageError
from pipelines.evaluation.findings import Findings
from pipelines.evaluation.page import render_page
from pipelines.evaluation.record import describe, run_lineage
from pipelines.figures.curves import learning_curves
from pipelines.files import png, write_files
from pipelines.networks import load_network, network_of
from pipelines.recipes import Recipe, load_recipe
from pipelines.tracking import connect, dataset_of, find_run, recipe_of, validation_accuracy

SplitName = Literal["test", "validation"]
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Source:
    """A network, the dataset to evaluate it on, and what is known of where it comes from."""

    model: keras.Model
    data: Dataset
    split_name: SplitName
    name: str
    """Of the folder that its evaluation is written to."""
    title: str
    subtitle: str
    lineage: Mapping[str, str]
    run_id: str | None = None
    recipe: str | None = None
    """As YAML."""
    recorded: Mapping[str, float] = field(default_factory=dict)
    """What its run recorded of this split, by the metrics' names without the split's."""
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """As `learning_curves` takes it; empty where nothing was trained."""

    @property
    def split(self) -> Split:
        """What it is evaluated on."""
        return self.data.test if self.split_name == "test" else self.data.validation


def find_source(
    reference: str, split: SplitName = "test", dataset: str | None = None, recipe: str | None = None
) -> Source:
    """The run, or the `.keras` file, that `reference` names.

    A run, by its id, the start of it or its recipe, is asked about the dataset that it was trained on. A file needs
    the name of a `dataset`, or of a `recipe` that has one. Raises UsageError for what there is not or does not fit, and
    for validation where no images are held out; PipelineError for a dataset that has changed since the run.
    """
    if reference.endswith(".keras"):
        return _from_file(Path(reference), split, dataset, recipe)
    if dataset or recipe:
        option = "--dataset" if dataset else "--recipe"
        raise UsageError(f"{option} is for a `.keras` file; a run is evaluated on the dataset that it was trained on.")
    return _from_run(find_run(reference, "train", "ensemble"), split)


def write_evaluation(source: Source, findings: Findings, folder: Path) -> dict[str, Path]:
    """Write the page, the report and the figures into `folder`, each named after the split; their paths by name.

    Raises PipelineError.
    """
    figures = findings.evaluation.figures()
    contents = {
        "report.txt": findings.evaluation.report().encode(),
        **{filename: png(figure) for filename, figure in figures.items()},
    }
    if source.history:
        figures["learning_curves.png"] = learning_curves(source.history, source.title)
    page = render_page(source.title, source.subtitle, findings, figures, source.lineage, source.recipe)
    named = {f"{source.split_name}_{filename}": content for filename, content in contents.items()}
    return write_files(folder, {f"{source.split_name}.html": page.encode(), **named})


def _from_run(run: Run, split: SplitName) -> Source:
    recipe, run_id = recipe_of(run), run.info.run_id
    _check_held_out(recipe, split)
    model, data = network_of(run), dataset_of(run, recipe)
    if split == "test":
        recorded = {k.removeprefix("test_"): v for k, v in run.data.metrics.items() if k.startswith("test_")}
    else:  # the loss of validation is that of the recipe, and need not be the cross-entropy
        accuracy = validation_accuracy(run, recipe)
        recorded = {} if accuracy is None else {"accuracy": accuracy}
    return Source(
        model=model,
        data=data,
        split_name=split,
        name=f"{recipe.name}-{run_id[:8]}",
        title=recipe.name,
        subtitle=describe(recipe, run.data.tags, split),
        lineage=run_lineage(run_id, run.data.tags),
        run_id=run_id,
        recipe=recipe.to_yaml(),
        recorded=recorded,
        history=_history(run),
    )


def _history(run: Run) -> dict[str, list[float]]:
    """The run's metrics, a value an epoch; empty where it has none, as an ensemble."""
    curves = [name for name in CURVES if name in run.data.metrics]
    if "loss" not in curves:
        return {}
    client = connect()
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in curves}
    # By epoch, for one that was logged again when a run was resumed counts once.
    return {name: list(dict(sorted((m.step, m.value) for m in found)).values()) for name, found in histories.items()}


def _from_file(path: Path, split: SplitName, dataset: str | None, recipe: str | None) -> Source:
    if bool(dataset) == bool(recipe):
        raise UsageError(
            "A `.keras` file does not say what it was trained on; give either --dataset with one of "
            f"{', '.join(list_datasets())}, or --recipe with a recipe that names it."
        )
    if dataset == "folder":
        raise UsageError("--dataset folder does not say which folder; give --recipe with a recipe that names it.")
    options: dict[str, Any] = {"name": dataset}
    if recipe:
        found = load_recipe(recipe)
        _check_held_out(found, split)
        options = found.dataset.options
    model = load_network(path)
    data = load_dataset(**options)
    _check_fit(path, model, data)
    return Source(
        model=model,
        data=data,
        split_name=split,
        name=path.stem,
        title=path.name,
        subtitle=f"{model.name}; {split} split of {data.name}",
        lineage={"file": str(path.resolve()), "dataset digest": data.digest},
    )


def _check_held_out(recipe: Recipe, split: SplitName) -> None:
    """Raise UsageError for validation where there are no images for it."""
    if split == "validation" and recipe.dataset.validation == 0:
        raise UsageError(
            f"{recipe.name} holds no images out for validation (dataset.validation is 0); leave out --split validation."
        )


def _check_fit(path: Path, model: keras.Model, data: Dataset) -> None:
    """Raise UsageError where a file's network is none for the dataset, or does not answer with scores."""
    takes, answers = model.input.shape[1:], model.output.shape[1:]
    if tuple(takes) != data.input_shape:
        raise UsageError(f"'{path}' takes inputs of the shape {takes}; those of {data.name} have {data.input_shape}.")
    if tuple(answers) != (len(data.class_names),):
        raise UsageError(
            f"'{path}' answers with scores of the shape {answers}; {data.name} has {len(data.class_names)} classes."
        )
    seen = data.validation if len(data.validation) else data.train
    scores = keras.ops.convert_to_numpy(model.predict(seen.images[:16], verbose=0))
    if (scores >= 0).all() and abs(scores.sum(axis=1) - 1).max() < 1e-3:
        raise UsageError(
            f"'{path}' answers with probabilities; expected scores before the softmax (logits), which is what all "
            "numbers here are computed from: leave out its last activation."
        )
