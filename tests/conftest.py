"""What the tests share: a home of their own, and one small network that was trained and published once."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.recipes import load_recipe
from serving.quiet import import_tensorflow

# The user's own state is out of the tests' reach; this is before any fixture, whatever its scope.
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "ZOO_HOME"):
    os.environ.pop(name, None)
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers with and without a GPU

import_tensorflow()

# A network that learns the digits in seconds: what the tests train unless they are about another.
SMALL = {"network.arguments.filters": [8, 12], "network.arguments.dense_units": [32], "epochs": 8, "augmentation": []}


@pytest.fixture(scope="session")
def small_recipe():
    """`digits_cnn` with a small network and without augmentation: learns in seconds."""
    return load_recipe("digits_cnn").override(SMALL)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """No test reads or writes the user's state."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZOO_DATA_DIR", raising=False)


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory):
    """MLflow's database, initialised once: that takes seconds."""
    from pipelines.tracking import connect

    home = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        connect()
    return home / "mlflow.db"


@pytest.fixture
def store(_empty_store, tmp_path):
    """This test's own, empty tracking store."""
    (tmp_path / "home").mkdir(exist_ok=True)
    shutil.copy(_empty_store, tmp_path / "home")


@pytest.fixture(scope="session")
def make_stable():
    """Let a candidate be the stable version, without a gate."""
    from pipelines.home import models_folder
    from pipelines.registry import repair_aliases
    from pipelines.tracking import connect
    from serving.repository import ModelRepository, Served

    def make(release):
        ModelRepository(models_folder()).serve(release.name, Served(stable=release.version))
        repair_aliases(connect(), release.name, Served(stable=release.version))

    return make


@dataclass(frozen=True)
class Published:
    """A trained run and its published version, in a home that tests share and must not change."""

    home: Path
    run: object
    release: object


@pytest.fixture(scope="session")
def published(tmp_path_factory, small_recipe, make_stable):
    """`digits_cnn`, small, trained for a few epochs and published as version 1, stable without a gate."""
    from pipelines.experiment import run_experiment
    from pipelines.publication import publish
    from pipelines.tracking import find_run

    home = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        run = run_experiment(small_recipe)
        release = publish(find_run(run.run_id))
        make_stable(release)
    return Published(home, run, release)


@pytest.fixture
def published_home(published, monkeypatch):
    """The shared home as this test's own, for reading."""
    monkeypatch.setenv("ZOO_HOME", str(published.home))
    return published


@pytest.fixture(scope="session")
def server(published):
    """A model server on the published model."""
    from serving.local_server import local_server

    with local_server([f"--model_config_file={published.home}/models/models.config"]) as running:
        running.wait_for("digits_cnn", 1)
        yield running


@pytest.fixture
def zoo_command(monkeypatch, capsys):
    """Run `zoo …` in this process; returns (exit status, standard output, standard error)."""
    from pipelines.cli import main

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["zoo", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
