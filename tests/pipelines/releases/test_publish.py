import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from pipelines.datasets.digits import load_digits
from pipelines.errors import PipelineError, UsageError
from pipelines.home import models_folder
from pipelines.publication import publish
from pipelines.tracking import connect, find_run, track
from serving.artifact import content_hash, read_lineage
from serving.errors import ServingError
from serving.repository import ModelRepository, Served

STEPS = ["load", "stage", "verify", "register", "rename", "serve"]


@pytest.fixture
def home(published, monkeypatch, tmp_path):
    """A copy of the published home's runs without its versions: a trained run that nobody has published."""
    # MLflow keeps absolute paths, so that the runs stay where they are and only the database is this test's own.
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(published.home / "mlflow.db", folder)
    monkeypatch.setenv("ZOO_HOME", str(folder))
    client = connect()
    client.delete_registered_model("digits_cnn")
    return published


@pytest.fixture
def unverified(monkeypatch):
    """Without asking a fresh process, which other tests are about and which takes most of a publication's time."""
    monkeypatch.setattr("pipelines.publication.verify_in_fresh_process", lambda folder: None)


# What a process that is to be killed runs before its last call.
PREPARE = """
import os, pathlib, signal
from serving.quiet import import_tensorflow
import_tensorflow()
from pipelines import publication as release
from pipelines.tracking import find_run
release.verify_in_fresh_process = lambda folder: None
def kill(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)
"""


def run_until_killed(code):
    done = subprocess.run([sys.executable, "-c", PREPARE + code], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def repository():
    return ModelRepository(models_folder())


def test_a_version_leads_back_to_its_run(published_home):
    release = published_home.release
    lineage = read_lineage(release.folder)
    assert lineage["run_id"] == published_home.run.run_id
    assert lineage["dataset_digest"] == published_home.run.data.digest
    assert lineage["metrics"]["test_accuracy"] == published_home.run.test_accuracy
    assert lineage["validation"] == {
        "accuracy": published_home.run.validation_accuracy,
        "dataset_digest": published_home.run.data.digest,
        "run_ids": [published_home.run.run_id],
    }
    assert lineage["recipe"]["network"]["arguments"]["filters"] == [8, 12]
    version = connect().get_model_version("digits_cnn", str(release.version))
    assert version.run_id == published_home.run.run_id
    assert version.tags["zoo.content_hash"] == lineage["content_hash"] == content_hash(release.folder)


@pytest.mark.usefixtures("home", "unverified")
def test_every_version_begins_as_the_candidate(published):
    first = publish(find_run(published.run.run_id))
    assert (first.version, first.label) == (1, "candidate")
    again = publish(find_run(published.run.run_id))
    assert (again.version, again.label) == (1, "candidate")
    repository().serve("digits_cnn", Served(stable=1))
    assert publish(find_run(published.run.run_id)).label == "stable"

    # Another run of the same recipe: here the same training under another id.
    with track(published.run.recipe, "train") as run:
        run.log_dataset(published.run.data)
        run.log_model(published.run.model)
    second = publish(find_run(run.id))
    assert (second.version, second.label) == (2, "candidate")
    assert repository().served() == {"digits_cnn": Served(stable=1, candidate=2)}
    assert connect().get_registered_model("digits_cnn").aliases == {"stable": 1, "candidate": 2}

    # A served folder that somebody took away does not stand in the way.
    shutil.rmtree(first.folder)
    assert publish(find_run(run.id)).label == "candidate"
    assert repository().served() == {"digits_cnn": Served(candidate=2)}


@pytest.mark.usefixtures("home", "unverified")
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_leaves_no_version_or_a_whole_one_and_the_next_call_finishes(published, step):
    """SIGKILL as the step begins."""
    run_id = published.run.run_id
    run_until_killed(f"release.publish(find_run({run_id!r}), on_step=lambda s: kill() if s == {step!r} else None)")
    assert repository().versions("digits_cnn") == ([1] if step == "serve" else [])
    assert repository().served() == {}

    assert publish(find_run(run_id)).version == 1
    assert repository().served() == {"digits_cnn": Served(candidate=1)}
    assert [path.name for path in (models_folder() / "digits_cnn").iterdir()] == ["1"]
    assert len(connect().search_model_versions("name = 'digits_cnn'")) == 1


@pytest.mark.usefixtures("home", "unverified")
@pytest.mark.parametrize(
    ("step", "call"),
    [("rename", "os.fsync"), ("rename", "pathlib.Path.rename"), ("serve", "pathlib.Path.write_text"),
     ("serve", "pathlib.Path.replace")],
)  # fmt: skip
def test_killed_in_the_middle_of_a_step(published, step, call):
    """SIGKILL in place of a system call: while a version is renamed, and while models.config is rewritten."""
    run_id = published.run.run_id
    arm = f"def arm(step):\n    if step == {step!r}: {call} = kill\n"
    run_until_killed(f"{arm}release.publish(find_run({run_id!r}), on_step=arm)")
    assert repository().versions("digits_cnn") == ([1] if step == "serve" else [])
    assert repository().served() == {}

    publish(find_run(run_id))
    assert repository().served() == {"digits_cnn": Served(candidate=1)}


def test_an_export_that_answers_differently_is_not_published(home, published, monkeypatch):
    import serving.export

    right = serving.export._add_endpoints

    def wrong_scale(archive, model, class_names):
        import keras

        image = keras.Input(model.input.shape[1:], name="image")
        right(archive, keras.Model(image, model(image / 2)), class_names)

    monkeypatch.setattr(serving.export, "_add_endpoints", wrong_scale)
    with pytest.raises(ServingError, match="serving_default: probabilities differ by up to"):
        publish(find_run(published.run.run_id))
    assert repository().versions("digits_cnn") == []
    assert repository().served() == {}
    assert not list((models_folder() / "digits_cnn").iterdir())


def test_swapped_labels_are_not_published(home, published, monkeypatch):
    import serving.export

    right = serving.export._add_endpoints
    monkeypatch.setattr(
        serving.export, "_add_endpoints", lambda archive, model, names: right(archive, model, names[::-1])
    )
    with pytest.raises(ServingError, match="serving_default: label is"):
        publish(find_run(published.run.run_id))
    assert repository().versions("digits_cnn") == []


@pytest.mark.usefixtures("home")
def test_a_run_of_another_kind_or_of_somebody_else(published):
    with track(published.run.recipe, "search") as search:
        pass
    with pytest.raises(UsageError, match="is no train run but search"):
        find_run(search.id, "train")
    client = connect()
    foreign = client.create_run("0")
    with pytest.raises(UsageError, match="one that this project did not make"):
        find_run(foreign.info.run_id, "train")


def test_a_run_without_a_network(home, published):
    with track(published.run.recipe, "train") as run:
        pass
    with pytest.raises(UsageError, match="kept no network; name a run that `zoo train` has finished"):
        publish(find_run(run.id))


@pytest.mark.usefixtures("home")
def test_a_run_whose_dataset_has_changed_is_not_published(published, monkeypatch):
    from pipelines import datasets

    def swapped():
        train, test, names = load_digits()
        return replace(train, labels=9 - train.labels), test, names

    monkeypatch.setitem(datasets._loaders, "digits", (swapped, 300))
    with pytest.raises(PipelineError, match=r"The dataset digits has the digest .* was trained on .*; put back what"):
        publish(find_run(published.run.run_id))
    assert repository().versions("digits_cnn") == []
    assert connect().search_model_versions("name = 'digits_cnn'") == []
