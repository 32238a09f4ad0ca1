"""Trained networks, loaded from where they were kept."""

import tempfile
import zipfile
from pathlib import Path

import keras
from mlflow.entities import Run

import pipelines.voting  # noqa: F401  (registers the layer that an ensemble's `.keras` file names)
import zoo
from pipelines.errors import UsageError
from pipelines.tracking import download_model


def network_of(run: Run) -> keras.Model:
    """The network of a run, in its serving form. Raises UsageError for a run that kept none."""
    with tempfile.TemporaryDirectory() as folder:
        return load_network(download_model(run, Path(folder)))


def load_network(path: Path) -> keras.Model:
    """The network in a `.keras` file, in its serving form. Raises UsageError for a file that holds none."""
    if not path.is_file():
        raise UsageError(f"There is no file '{path}'.")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"'{path}' is no `.keras` file, which is a zip archive; expected what Keras's `save` writes.")
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged archive surfaces as whatever of a dozen errors its reader raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise UsageError(f"'{path}' holds no network that can be loaded: {reason[:300]}.") from error
    if not isinstance(model, keras.Model) or not model.built or len(getattr(model, "inputs", None) or ()) != 1:
        raise UsageError(f"'{path}' holds no network with one input: {type(model).__name__}.")
    return zoo.serving_form(model)
