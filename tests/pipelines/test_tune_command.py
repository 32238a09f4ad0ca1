"""`zoo tune` as its user calls it."""

import json

import pytest

from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, search_runs
from pipelines.tuning.role import find_role
from pipelines.tuning.winner import Confirmation, Seeds

SMALL = ["--set", "network.arguments.filters=[4, 6]", "--set", "network.arguments.dense_units=[16]"]
SPACE = ["--set", "search={optimizer.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}}"]
TINY = [*SMALL, *SPACE, "--set", "augmentation=[]", "--set", "epochs=2"]


@pytest.mark.usefixtures("store")
def test_a_search_and_what_it_was_worth(zoo_command):
    status, out, err = zoo_command("tune", "digits_cnn", *TINY, "--trials", 2, "--seeds", 2)
    assert status == 0, err
    assert "trial 1, 2 of 2: val_accuracy" in err
    assert "the recipe: learning_rate 0.003" in out
    assert "the recipe as it stands" in out
    assert "than the recipe" in out or "nothing better than the recipe" in out

    (parent,) = search_runs("tags.`zoo.kind` = 'search'")
    runs = search_runs(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.`zoo.kind` = 'train'")
    assert len(runs) in (3, 5)  # two seeds each, and the winner on all images; fewer where the recipe won
    final = find_run(parent.data.tags["zoo.final_run"])
    assert final.data.params["dataset.validation"] == "0"
    assert "val_accuracy" not in final.data.metrics
    assert connect().search_model_versions(f"run_id = '{final.info.run_id}'")[0].name == "digits_cnn"
    files = {item.path for item in connect().list_artifacts(parent.info.run_id)}
    assert {"winner.yaml", "final.yaml", "winner_and_recipe.png"} <= files
    assert parent.data.tags["zoo.verdict"] in out
    line = next(line for line in out.splitlines() if line.startswith("next"))
    assert zoo_command(*line.split()[2:4])[0] == 0  # publish
    winner = next(line.split()[-1] for line in out.splitlines() if line.startswith("winner "))
    status, out, _ = zoo_command("train", winner, "--json")
    assert status == 0
    assert json.loads(out)["recipe"] == load_recipe(winner).name == "digits_cnn"


@pytest.mark.usefixtures("store")
def test_for_machines(zoo_command):
    status, out, _ = zoo_command("tune", "digits_cnn", *TINY, "--trials", 1, "--seeds", 1, "--json")
    assert status == 0
    found = json.loads(out)
    assert [trial["number"] for trial in found["trials"]] == [0]
    assert found["winner"]["run_ids"] == found["recipe"]["run_ids"]
    assert found["verdict"] == "The search found nothing better than the recipe as it stands."
    assert 0 < found["final_test_accuracy"] <= 1


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("place", [["--role", "chief", "--chief", "127.0.0.1:8700"], []])
def test_a_search_that_ends_with_a_problem_is_over(zoo_command, monkeypatch, place):
    """A chief's status is 0 then: what starts it again when it fails would have it search anew."""
    from pipelines.errors import PipelineError
    from pipelines.tuning import parallel, search

    def cannot(*_):
        raise PipelineError("No room [at all].")

    monkeypatch.setattr(search, "confirm", cannot)
    monkeypatch.setattr(parallel, "as_chief", lambda _: search.alone)  # no worker is needed to come so far
    status, out, err = zoo_command("tune", "digits_cnn", *TINY, "--trials", 1, "--seeds", 1, "--resume", *place)
    assert status == (0 if place else 1)
    assert "Error: Winner and recipe could not be trained again: No room [at all]." in err
    assert "trial 0" in out
    (parent,) = search_runs("tags.`zoo.kind` = 'search'")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["zoo.error"] == "No room [at all]."


@pytest.mark.usefixtures("store")
def test_nothing_to_go_on_with_is_said(zoo_command):
    status, _, err = zoo_command("tune", "digits_cnn", *TINY, "--trials", 1, "--seeds", 0, "--resume")
    assert status == 0
    assert "no interrupted search" in err


@pytest.mark.usefixtures("store")
def test_an_interrupted_search_goes_on_by_its_id_with_more_trials(zoo_command, monkeypatch):
    from pipelines.tuning import search as rooms

    def interrupted(job):
        trial = job.oracle.create_trial(rooms.IN_PROCESS)
        rooms.TrialRunner(job.recipe, job.plan, job.folder, job.data, job.watch)(trial)
        raise KeyboardInterrupt  # the trial has ended, and its oracle has not heard of it

    with monkeypatch.context() as patch:
        patch.setattr(rooms, "alone", interrupted)
        status, _, err = zoo_command("tune", "digits_cnn", *TINY, "--trials", 2, "--seeds", 0)
    assert status == 130
    assert "goes on with the same command and --resume" in err
    (parent,) = search_runs("tags.`zoo.kind` = 'search'")
    assert parent.info.status == "KILLED"
    (first,) = search_runs("tags.`zoo.kind` = 'trial'")
    run_id = parent.info.run_id
    status, _, err = zoo_command("tune", run_id[:8], "--resume", "--trials", 1)
    assert status == 2
    assert "has 2 trials of random, and --trials asks for 1" in err
    status, out, err = zoo_command("tune", run_id[:8], "--resume", "--trials", 3, "--seeds", 0, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["run_id"] == run_id
    assert len(found["trials"]) == 3
    assert found["trials"][0]["run_id"] == first.info.run_id
    assert find_run(first.info.run_id).info.end_time == first.info.end_time
    assert find_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--objective", "f1"], "No epoch has the metric 'f1'"),
        (["--objective", "test_accuracy"], "no choice rests on test images"),
        (["--trials", "0"], "greater than or equal to 1"),
        (["--algorithm", "fortune"], "fortune"),
        (["--set", "search={}"], "no search: block"),
        (["--set", "search={batch_size: [64]}"], "batch_size"),
        (["--set", "search={optimizer.learning_rate: {min: 1, max: 0.1}}"], "below max"),
        (["--set", "search={optimizer.learning_rate: {min: a, max: b}}"], "learning_rate"),
        (["--role", "worker"], "needs the chief's address"),
        (["--role", "chief", "--chief", "nowhere"], "received 'nowhere'; give --chief HOST:PORT"),
        (["--role", "chief", "--chief", "127.0.0.1:1", "--workers", "2"], "on one machine"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_trains_nothing(zoo_command, arguments, said):
    status, out, err = zoo_command("tune", "digits_cnn", *arguments)
    assert status == 2
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not out


def test_the_part_of_a_process_by_keras_tuners_variables(monkeypatch):
    assert find_role(None, None, None).role is None
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "10.0.0.5")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8700")
    for name, role in (("chief", "chief"), ("worker-3", "worker")):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        place = find_role(None, None, None)
        assert (place.role, place.host, place.port, place.worker) == (role, "10.0.0.5", 8700, name)
    place = find_role("worker", "[::1]:9000", "mine")
    assert (place.host, place.port, place.worker) == ("::1", 9000, "mine")


@pytest.mark.parametrize(
    ("winner", "recipe", "said"),
    [
        ([0.99, 0.991, 0.992], [0.98, 0.981, 0.982], "1.00 points better than the recipe (Welch's t-test"),
        ([0.99, 0.98, 0.985], [0.984, 0.981, 0.982], "cannot be told from chance"),
        ([0.98, 0.981, 0.982], [0.99, 0.991, 0.992], "1.00 points worse"),
        ([0.99], [0.98], "tells nothing: take more --seeds"),
        ([0.99, 0.99], [0.98, 0.98], "none of 2 seeds differs"),
    ],
)
def test_the_verdict(small_recipe, winner, recipe, said):
    groups = [Seeds([f"{name}{i}" for i in range(len(v))], v) for name, v in (("w", winner), ("r", recipe))]
    assert said in Confirmation(*groups, small_recipe, "final", 0.99, 1).verdict
