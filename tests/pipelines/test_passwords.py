"""Passwords in addresses are shown nowhere."""

import pytest

from pipelines.passwords import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://mlflow:hunter2@db:5432/mlflow", "postgres://mlflow:…@db:5432/mlflow"),
        ("postgresql+psycopg2://mlflow:hun/ter@2@db/mlflow", "postgresql+psycopg2://mlflow:…@db/mlflow"),
        ("http://user:12345@[::1]:5000/", "http://user:…@[::1]:5000/"),
        ("redis://:hunter2@cache", "redis://:…@cache"),
        ("from 'http://a:b@c' to \"http://d:e@f\".", "from 'http://a:…@c' to \"http://d:…@f\"."),
    ],
)
def test_a_password_is_left_out(text, shown):
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:5000",
        "http://localhost:8501/v1/models/digits_cnn@candidate",
        "http://[::1]:8501/v1/models/digits_cnn@candidate",
        "https://user@host:443/path",
        "sqlite:////home/me/artifacts/mlflow.db",
        "at http://localhost:8080, or write to somebody@example.org",
    ],
)
def test_what_is_none_stays(text):
    assert without_passwords(text) == text


@pytest.mark.parametrize("command", [["ui", "--no-open"], ["doctor"], ["releases"]])
def test_no_command_prints_it(zoo_command, monkeypatch, command):
    """A slip in the scheme, which MLflow answers with the whole address."""
    from pipelines import doctor

    monkeypatch.setattr(doctor.installation, "tensorflow", lambda: doctor.Finding("TensorFlow", "ok", "9.9"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres://mlflow:hunter2@127.0.0.1:1/mlflow")
    _, out, err = zoo_command(*command)
    assert "hunter2" not in out + err


def test_the_list_of_what_is_published_does_not_print_it(published_home, zoo_command, monkeypatch):
    """MLflow's refusal stands beside the versions, and in the proof."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres://mlflow:hunter2@127.0.0.1:1/mlflow")
    for options in ([], ["--verify"], ["--json"]):
        _, out, err = zoo_command("releases", *options)
        assert "digits_cnn" in out
        assert "hunter2" not in out + err


def test_mlflows_words_are_told_without_it(zoo_command, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres://mlflow:hunter2@127.0.0.1:1/mlflow")
    status, out, err = zoo_command("ui", "--no-open")
    assert status == 1
    assert "postgres://mlflow:…@127.0.0.1" in err
    assert "hunter2" not in out + err
