"""MLflow, behind one door: where the store is, and what a run records.

Runs lie in one experiment per dataset, so that MLflow's UI compares what can be compared. Their tags say what they
are: `zoo.kind` is train, search or trial; `zoo.recipe` is the recipe's name.
"""

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from pipelines.errors import PipelineError, UsageError
from pipelines.home import home
from pipelines.recipes import Recipe, recipe_from_yaml

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from pipelines.datasets import Dataset

Kind = Literal["train", "search", "trial"]
PACKAGES = ("conv-zoo", "tensorflow", "keras", "keras-tuner", "mlflow", "numpy")
MODEL = "model"


def tracking_uri() -> str:
    """The tracking store: MLFLOW_TRACKING_URI, or the SQLite file of this project's home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def connect() -> MlflowClient:
    """A client of the tracking store, which is initialised on first use.

    Several processes that initialise one SQLite file at once corrupt it, so that happens under a lock.
    """
    uri, given = tracking_uri(), "MLFLOW_TRACKING_URI" in os.environ
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if not given:
        # MLflow sets the variable too; left there, it would be taken for the user's wish from now on.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    if not uri.startswith("sqlite:"):
        return MlflowClient()
    database = Path(uri.removeprefix("sqlite:///"))
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(database.with_suffix(".lock")):
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except OSError as error:
        raise PipelineError(f"The tracking store {uri} cannot be made: {error}.") from error
    return client


class TrackedRun:
    """A run in progress: the recipe's training, a search, or one of its trials."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.client = client
        self.id: str = run.info.run_id

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record an epoch's metrics; the first epoch is 1."""
        mlflow.log_metrics({name: float(value) for name, value in metrics.items()}, step=epoch, run_id=self.id)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record final metrics."""
        mlflow.log_metrics(dict(metrics), run_id=self.id)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; a value that is no text is written as JSON."""
        texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in params.items()}
        mlflow.log_params(texts, run_id=self.id)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as a file of the run."""
        self.client.log_text(self.id, text, path)

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Keep a figure as an image of the run."""
        self.client.log_figure(self.id, figure, path)

    def log_dataset(self, data: "Dataset") -> None:
        """Record which images or signals were trained on, by name and digest."""
        self.client.set_tag(self.id, "zoo.dataset_digest", data.digest)
        profile = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
        entity = DatasetEntity(
            name=data.name,
            digest=data.digest[:36],  # as long as MLflow takes; the tag has it whole
            source_type="local",
            source=json.dumps({"uri": data.name}),
            schema=json.dumps(
                {
                    "signal" if data.has_signals else "image": [str(data.train.images.dtype), *data.input_shape],
                    "classes": len(data.class_names),
                }
            ),
            profile=json.dumps(profile),
        )
        context = InputTag(MLFLOW_DATASET_CONTEXT, "training")
        self.client.log_inputs(self.id, [DatasetInput(entity, tags=[context])])

    def log_model(self, model: "keras.Model") -> None:
        """Keep the trained network: as MLflow's model `model`, whose files hold `data/model.keras`."""
        import mlflow.keras
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        example, scores = model.input, model.output
        signature = ModelSignature(
            Schema([TensorSpec(np.dtype("float32"), (-1, *example.shape[1:]), example.name)]),
            Schema([TensorSpec(np.dtype("float32"), (-1, *scores.shape[1:]))]),
        )
        # Named requirements spare MLflow a subprocess that loads the model to guess them.
        needs = [f"{name}=={version(name)}" for name in ("keras", "tensorflow", "numpy")]
        mlflow.keras.log_model(model, name=MODEL, signature=signature, pip_requirements=needs)


@contextlib.contextmanager
def track(recipe: Recipe, kind: Kind, *, name: str | None = None, parent: str | None = None) -> Iterator[TrackedRun]:
    """A new run that is FINISHED when the block ends, FAILED when it raises, KILLED when it is interrupted."""
    client = connect()
    experiment = _experiment(client, recipe.dataset.title)
    tags = {
        "zoo.kind": kind,
        "zoo.recipe": recipe.name,
        "zoo.seed": str(recipe.seed),
        "mlflow.source.name": "zoo",
        **{f"zoo.version.{package}": version(package) for package in PACKAGES},
        "zoo.version.python": platform.python_version(),
        **_git_tags(),
    }
    # Python's random is seeded for training, so that MLflow's own random names would repeat.
    name = name or f"{recipe.name} seed {recipe.seed}"
    with mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags, parent_run_id=parent, nested=True) as run:
        try:
            tracked = TrackedRun(client, run)
            tracked.log_params(recipe.flat())
            tracked.log_text(recipe.to_yaml(), "recipe.yaml")
            yield tracked
        except KeyboardInterrupt:
            mlflow.end_run("KILLED")
            raise
        except Exception as error:
            client.set_tag(run.info.run_id, "zoo.error", f"{type(error).__name__}: {error}"[:500])
            raise


def find_run(reference: str, kind: Kind | None = None) -> Run:
    """A run by its id, by the first characters of its id, or the latest finished one of a recipe by its name.

    Raises UsageError where there is none, or several.
    """
    client = connect()
    with contextlib.suppress(MlflowException):
        run = client.get_run(reference)
        found_kind = run.data.tags.get("zoo.kind")
        if kind is None or found_kind == kind:
            return run
        raise UsageError(f"Run {reference} is no {kind} run but {found_kind or 'one that this project did not make'}.")
    runs = [run for run in search_runs() if kind is None or run.data.tags["zoo.kind"] == kind]
    named = [r for r in runs if r.data.tags.get("zoo.recipe") == reference and r.info.status == "FINISHED"]
    if named:
        return named[0]
    found = [run for run in runs if run.info.run_id.startswith(reference)] if len(reference) >= 4 else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"'{reference}' is the start of {len(found)} run ids; give more characters.")
    raise UsageError(f"There is no run '{reference}'; expected a run id or a trained recipe's name (see `zoo ui`).")


def search_runs(filter_string: str = "") -> list[Run]:
    """This project's runs, newest first, over all experiments; `filter_string` as MLflow understands it."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(experiments, filter_string, order_by=["attributes.start_time DESC"], page_token=token)
        found += [run for run in page if "zoo.kind" in run.data.tags]
        token = page.token
        if not token:
            return found


def recipe_of(run: Run) -> Recipe:
    """The resolved recipe that a run was made with."""
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/recipe.yaml")
    return recipe_from_yaml(text, f"of run {run.info.run_id}")


def dataset_of(run: Run, recipe: Recipe) -> "Dataset":
    """The dataset that a run of `recipe` was trained on, loaded anew. Raises PipelineError where it is another now."""
    from pipelines.datasets import load_dataset

    choice, trained_on = recipe.dataset, run.data.tags.get("zoo.dataset_digest")
    data = load_dataset(**choice.options)
    if data.digest != trained_on:
        raise PipelineError(
            f"The dataset {choice.title} has the digest {data.digest[:12]}, and run {run.info.run_id} was trained on "
            f"{trained_on[:12] if trained_on else 'none'}; put back what it was, or train again with `zoo train`."
        )
    return data


def download_model(run: Run, folder: Path) -> Path:
    """Copy a run's `.keras` file into `folder`. Raises UsageError for a run that kept none."""
    connect()
    try:
        path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{MODEL}", dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise UsageError(
            f"Run {run.info.run_id} ({run.data.tags.get('zoo.kind')}, {run.info.status}) kept no network; "
            "name a run that `zoo train` has finished."
        ) from error
    return Path(path) / "data" / "model.keras"


def _experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, made on first use (another process may be making it)."""
    # A tracking server has a place of its own; a database's default is below the working directory of who came first.
    local = not tracking_uri().startswith(("http://", "https://"))
    location = (home() / "mlruns" / name).as_uri() if local else None
    for _ in range(2):
        existing = client.get_experiment_by_name(name)
        if existing:
            return existing.experiment_id
        with contextlib.suppress(MlflowException):
            return client.create_experiment(name, artifact_location=location)
    raise PipelineError(f"The experiment '{name}' cannot be made in {tracking_uri()}; was it deleted in the UI?")


def _git_tags() -> dict[str, str]:
    """The commit of the sources, where they are a git checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        changed = bool(git("status", "--porcelain"))
    except OSError:  # no git on this machine
        return {}
    return {"mlflow.source.git.commit": commit, "zoo.git_changed": str(changed).lower()} if commit else {}
