"""Workers that do not fit their chief."""

import threading

import pytest

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, Stopped, UsageError
from pipelines.home import tuning_folder
from pipelines.tuning.chief import Chief
from pipelines.tuning.oracles import make_oracle
from pipelines.tuning.parallel import as_chief, take_part
from pipelines.tuning.plan import Plan, SearchFolder
from pipelines.tuning.role import Place
from pipelines.tuning.search import Job

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def recipe(small_recipe):
    return small_recipe.override({"epochs": 1, "search": {"batch_size": [50, 100]}})


@pytest.fixture
def served(recipe):
    """A search's folder, and the place of a worker of its chief."""
    folder = SearchFolder("a_search")
    folder.write(recipe, Plan(), load_dataset("digits").digest)
    with Chief(make_oracle(recipe, Plan(), folder)) as chief:
        yield folder, Place("worker", chief.host, chief.port, "worker-1")


def test_another_recipe(served, recipe):
    with pytest.raises(UsageError, match="searches over another recipe than digits_cnn"):
        take_part(served[1], recipe.override({"batch_size": 16}), lambda plan: None)


def test_other_data(served, recipe):
    folder, place = served
    folder.write(recipe, Plan(), "0" * 64)
    with pytest.raises(PipelineError, match="000000000000 at the chief; give all the same data"):
        take_part(place, recipe, lambda plan: None)


def test_another_home(served, recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(PipelineError, match="need one ZOO_HOME, on a disk that each of them sees"):
        take_part(served[1], recipe, lambda plan: None)
    assert not tuning_folder().exists()


def test_a_chief_whose_trials_have_all_ended_waits_for_nobody(recipe):
    """It was interrupted while winner and recipe were trained again."""
    plan, folder = Plan(trials=2), SearchFolder("a_search")
    oracle = make_oracle(recipe, plan, folder)
    for _ in range(2):
        trial = oracle.create_trial("worker-1")
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    job = Job(recipe, plan, folder, load_dataset("digits"), make_oracle(recipe, plan, folder), None)
    conduct = as_chief(Place("chief", "127.0.0.1", 0))
    thread = threading.Thread(target=conduct, args=[job], daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_a_chief_to_whom_nobody_comes_ends(recipe, monkeypatch):
    plan, folder = Plan(trials=2), SearchFolder("a_search")
    job = Job(recipe, plan, folder, load_dataset("digits"), make_oracle(recipe, plan, folder), None)
    monkeypatch.setattr("pipelines.tuning.parallel.NOBODY", 1.0)
    with pytest.raises(Stopped, match=r"No worker has come to 127\.0\.0\.1:\d+"):
        as_chief(Place("chief", "127.0.0.1", 0))(job)
