"""MLflow, behind one door: where the store is, and what a run records.

Runs lie in one experiment per dataset, so that MLflow's UI compares what can be compared. Their tags say what they
are: `zoo.kind` is train, search, trial or ensemble; `zoo.recipe` is the recipe's name.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from pipelines.delivery import MODEL, deliver, is_away
from pipelines.errors import PipelineError, Stopped, UsageError, reason_of
from pipelines.home import home
from pipelines.journal import RESUMABLE, Journal, interrupted_journals, journals
from pipelines.passwords import on_one_line
from pipelines.provenance import provenance_tags
from pipelines.recipes import Recipe, recipe_from_yaml
from pipelines.tracked_run import TrackedRun

if TYPE_CHECKING:
    from pipelines.datasets import Dataset

Kind = Literal["train", "search", "trial", "ensemble"]
HANDOVER = 60.0
"""Seconds that a worker waits for a trial's former worker, which notices within half a minute that it has lost it."""
log = logging.getLogger(__name__)


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
        # MLflow's own client would ask seven times over four minutes; the journal keeps what a server misses.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        # It writes each run's address to standard output, where --json is.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
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


@contextlib.contextmanager
def track(
    recipe: Recipe,
    kind: Kind,
    *,
    name: str | None = None,
    parent: str | None = None,
    more_tags: Mapping[str, str] | None = None,
    resume: Journal | None = None,
    params: Mapping[str, Any] | None = None,
) -> Iterator[TrackedRun]:
    """A run that is FINISHED when the block ends, FAILED when it raises, KILLED when it is interrupted.

    It is a new one, or with `resume` the interrupted one of that journal. `params` are those that it is listed with,
    by default the recipe's.
    """
    client = connect()
    deliver_waiting(client)
    if resume is None:
        journal = _new_journal(client, recipe, kind, name, parent, more_tags or {})
    elif resume.hold(HANDOVER if kind == "trial" else 0):
        journal = resume
    else:
        raise Stopped(f"Run {resume.run_id} is being worked on by another process.")
    run = TrackedRun(client, journal)
    try:
        if resume is not None:
            run.go_on(_other_provenance(run.tags))
        run.log_params(recipe.flat() if params is None else params)
        run.log_text(recipe.to_yaml(), "recipe.yaml")
        yield run
    except (KeyboardInterrupt, Stopped) as end:
        run.end("KILLED", str(end), resumable=kind in RESUMABLE)
        raise
    except Exception as error:
        # What the user has to mend makes another run; what broke down otherwise can be gone on with.
        broken = run.checkpoint.exists() and not isinstance(error, PipelineError)
        run.end("FAILED", reason_of(error), resumable=kind == "search" or (kind == "train" and broken))
        raise
    run.log_metrics({"minutes": run.journal.minutes()})
    run.end("FINISHED")
    for older in interrupted_journals(recipe, tracking_uri()) if kind == "train" else ():
        if not older.unsent() and older.hold():
            older.remove()  # nobody will want to go on with it any more


def waiting() -> list[Journal]:
    """Those of earlier runs that have something to send to the tracking store, unless a process is at work on them."""
    found = []
    for journal in journals():
        if journal.facts["uri"] == tracking_uri() and journal.unsent() and journal.hold():
            journal.release()
            found.append(journal)
    return found


@dataclass(frozen=True)
class Delivery:
    """What came of sending what waited."""

    complete: list[str]
    """Runs that the tracking store has whole now."""
    refused: dict[str, str]
    """Runs that it does not take, and why."""


def deliver_waiting(client: MlflowClient) -> Delivery:
    """Send what earlier runs could not, and clear away what they left. Where the store is away, all waits."""
    delivery = Delivery([], {})
    for journal in journals():
        if journal.facts["uri"] != tracking_uri() or not journal.hold():
            continue
        # A trial that failed is done with: the search has written down why.
        over = ("FINISHED", "FAILED") if journal.facts["kind"] == "trial" else ("FINISHED",)
        done = journal.status() in over or journal.facts["kind"] not in RESUMABLE
        try:
            if journal.unsent():
                deliver(client, journal)
                delivery.complete.append(journal.run_id)
        except (MlflowException, OSError, PipelineError) as error:
            done = False
            if is_away(error):
                break
            delivery.refused[journal.run_id] = on_one_line(str(error))
        finally:
            if done:
                journal.remove()
            journal.release()
    return delivery


def interrupted_run(recipe: Recipe) -> Journal | None:
    """The latest interrupted training run of this very recipe, seed included; None where there is none to resume."""
    for journal in interrupted_journals(recipe, tracking_uri()):
        try:
            stage = connect().get_run(journal.run_id).info.lifecycle_stage
        except (MlflowException, OSError) as error:
            stage = "active" if is_away(error) else "deleted"
        if stage == "active":
            return journal
        log.warning("Run %s was interrupted, and is deleted in MLflow: it cannot be resumed.", journal.run_id)
        if journal.hold():
            journal.remove()
    return None


def _other_provenance(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags for a run that other sources or versions go on with: what comes out is no run of either."""
    now = provenance_tags()
    if all(tags.get(name) == value for name, value in now.items()):
        return {}
    return {"zoo.git_changed": "true", "zoo.resumed_with": json.dumps(now)}


def _new_journal(
    client: MlflowClient, recipe: Recipe, kind: Kind, name: str | None, parent: str | None, more_tags: Mapping[str, str]
) -> Journal:
    tags = {
        "zoo.kind": kind,
        "zoo.recipe": recipe.name,
        "zoo.seed": str(recipe.seed),
        "mlflow.source.name": "zoo",
        **({"mlflow.parentRunId": parent} if parent else {}),
        **provenance_tags(),
        **more_tags,
    }
    experiment = _experiment(client, recipe.dataset.title)
    # Python's random is seeded for training, so that MLflow's own random names would repeat.
    run = client.create_run(experiment, tags=resolve_tags(tags), run_name=name or f"{recipe.name} seed {recipe.seed}")
    journal = Journal.create(run.info.run_id, tracking_uri(), kind, tags, recipe)
    journal.append("status", status="RUNNING")
    return journal


def find_run(reference: str, *kinds: Kind) -> Run:
    """A run by its id, by the first characters of its id, or the latest finished one of a recipe by its name.

    With `kinds`, one of these kinds. Raises UsageError where there is none, or several.
    """
    client = connect()
    with contextlib.suppress(MlflowException):
        run = client.get_run(reference)
        found_kind = run.data.tags.get("zoo.kind")
        if not kinds or found_kind in kinds:
            return run
        raise UsageError(
            f"Run {reference} is no {' or '.join(kinds)} run but {found_kind or 'one that this project did not make'}."
        )
    runs = [run for run in search_runs() if not kinds or run.data.tags["zoo.kind"] in kinds]
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


def validation_accuracy(run: Run, recipe: Recipe) -> float | None:
    """Of the weights that a run of `recipe` ended with, 0 to 1; None where it held no images out."""
    if "val_accuracy" not in run.data.metrics:
        return None
    if recipe.keep == "last":
        return float(run.data.metrics["val_accuracy"])
    return float(max(metric.value for metric in connect().get_metric_history(run.info.run_id, "val_accuracy")))


def dataset_of(run: Run, recipe: Recipe) -> "Dataset":
    """The dataset that a run of `recipe` was trained on, loaded anew. Raises PipelineError where it is another now."""
    from pipelines.training import load_for

    choice, trained_on = recipe.dataset, run.data.tags.get("zoo.dataset_digest")
    data = load_for(recipe)
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
