"""Where MLflow's UI shows what: the part of an address behind the server's own."""

from urllib.parse import quote, urlencode

from mlflow.entities import Run

from pipelines.errors import UsageError
from pipelines.tracking import connect, find_run, search_runs
from pipelines.tuning.trials import OBJECTIVES

MODEL_TRAINING = {"workflowType": "machine_learning"}
"""The UI has a mode for training and one for language models, and begins with that."""


def view_of(reference: str | None) -> str:
    """What the UI shows of `reference`: `#/experiments/1/runs…`.

    A run's own page by its id or the start of it; for a search its trials, the best first, with their curves; the runs
    of a recipe by its name; all runs on a dataset by its title. Without a reference all runs on the dataset of the
    newest; empty where there is none. Raises UsageError for what is none of these.
    """
    if reference is None:
        newest = search_runs()[:1]
        return _list(newest[0].info.experiment_id) if newest else ""
    experiment = connect().get_experiment_by_name(reference)
    if experiment is not None and experiment.lifecycle_stage == "active":
        return _list(experiment.experiment_id)
    try:
        run = find_run(reference)
    except UsageError as error:
        raise UsageError(f"{str(error).removesuffix('.')}; a dataset's title will do, too.") from error
    if run.info.run_id.startswith(reference):
        return _trials(run) if run.data.tags.get("zoo.kind") == "search" else _page(run)
    return _list(run.info.experiment_id, searchFilter=f"tags.`zoo.recipe` = '{reference}'")


def _list(experiment_id: str, **options: str) -> str:
    return f"#/experiments/{experiment_id}/runs?{urlencode(MODEL_TRAINING | options, quote_via=quote)}"


def _trials(search: Run) -> str:
    """Sorted by a metric, the UI does not fold nested runs away. `objective` is the search's at a trial's best epoch,
    which decided; under its own name MLflow has that of the last epoch."""
    direction = OBJECTIVES.get(search.data.tags.get("zoo.search.objective", ""), "max")
    return _list(
        search.info.experiment_id,
        searchFilter=f"tags.`mlflow.parentRunId` = '{search.info.run_id}'",
        orderByKey="metrics.`objective`",
        orderByAsc="true" if direction == "min" else "false",
        compareRunsMode="CHART",
    )


def _page(run: Run) -> str:
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?{urlencode(MODEL_TRAINING)}"
