"""Where the project keeps what it makes: `artifacts/` below the working directory, or the folder in ZOO_HOME."""

import os
from pathlib import Path


def home() -> Path:
    """The absolute folder of all state; made when first written to."""
    return Path(os.environ.get("ZOO_HOME") or "artifacts").resolve()


def models_folder() -> Path:
    """The model repository: one folder a model, one below it a version, and `models.config`."""
    return home() / "models"


def models_config() -> Path:
    """The configuration that the model servers read."""
    return models_folder() / "models.config"


def tuning_folder() -> Path:
    """Keras Tuner's state and the winners' recipes, one folder a search."""
    return home() / "tuning"


def runs_folder() -> Path:
    """Runs in progress and interrupted ones: journals and checkpoints, one folder a run."""
    return home() / "runs"
