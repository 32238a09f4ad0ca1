import subprocess
import sys

import mlflow
import pytest

from pipelines.errors import UsageError
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, recipe_of, search_runs, track

RECIPE = load_recipe("digits_cnn")


def artifacts(run):
    return {item.path for item in connect().list_artifacts(run.info.run_id)}


def test_a_run_has_all_that_its_contract_names(published_home):
    run = find_run(published_home.run.run_id)
    assert run.info.status == "FINISHED"
    assert recipe_of(run) == published_home.run.recipe
    assert run.data.params["optimizer.learning_rate"] == "0.003"
    assert run.data.params["network.arguments.filters"] == "[8, 12]"
    tags = run.data.tags
    assert tags["zoo.seed"] == "1"
    assert tags["zoo.dataset_digest"] == published_home.run.data.digest
    assert {f"zoo.version.{name}" for name in ("python", "keras", "tensorflow", "mlflow", "numpy")} <= set(tags)
    assert run.data.metrics["test_accuracy"] == published_home.run.test_accuracy
    for metric in ("loss", "accuracy", "val_loss", "val_accuracy"):
        history = connect().get_metric_history(run.info.run_id, metric)
        assert [point.step for point in history] == list(range(1, 9))
    files = {
        "recipe.yaml",
        "learning_curves.png",
        "test_report.txt",
        "test_confusion_matrix.png",
        "test_misclassified.png",
    }
    assert artifacts(run) >= files
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == published_home.run.data.digest[:36]


def test_the_commit_is_recorded_where_there_is_one(published_home):
    tags = find_run(published_home.run.run_id).data.tags
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("the sources are no git checkout")
    assert tags["mlflow.source.git.commit"] == done.stdout.strip()
    assert tags["zoo.git_changed"] in ("true", "false")


def test_mlflow_itself_loads_the_network(published_home):
    run = find_run(published_home.run.run_id)
    connect()
    model = mlflow.keras.load_model(f"models:/{run.outputs.model_outputs[0].model_id}")
    assert model.count_params() == published_home.run.model.count_params()


def test_figures_lie_in_the_home_and_nowhere_else(published_home):
    run = find_run(published_home.run.run_id)
    assert run.info.artifact_uri.startswith(f"file://{published_home.home}/mlruns/digits/")


def test_four_processes_may_open_a_fresh_store_at_once():
    """Without the lock this corrupts SQLite's file for good, four times of four."""
    code = "from pipelines.recipes import load_recipe; from pipelines.tracking import track\n"
    code += "with track(load_recipe('digits_cnn'), 'train') as run: run.log_epoch(1, {'loss': 1.0})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert len(search_runs()) == 4


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (RuntimeError, "FAILED")])
def test_a_run_that_breaks_off_says_so(error, status):
    with pytest.raises(error), track(RECIPE, "train"):
        raise error("out of memory")
    (run,) = search_runs()
    assert run.info.status == status
    assert mlflow.active_run() is None


@pytest.mark.usefixtures("store")
def test_runs_are_found_by_id_by_its_start_and_by_recipe():
    ids = []
    for _ in range(2):
        with track(RECIPE, "train") as run:
            ids.append(run.id)
    assert find_run(ids[0]).info.run_id == ids[0]
    assert find_run(ids[0][:8]).info.run_id == ids[0]
    assert find_run("digits_cnn").info.run_id == ids[1]


@pytest.mark.usefixtures("store")
def test_nested_runs_know_their_parent():
    with track(RECIPE, "search") as parent, track(RECIPE, "trial", parent=parent.id) as child:
        pass
    assert find_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("reference", ["nosuchrun", "abc", "mnist_cnn", "0" * 32])
def test_unknown_run(reference):
    with track(RECIPE, "train"):
        pass
    with pytest.raises(UsageError, match=f"There is no run '{reference}'"):
        find_run(reference)
