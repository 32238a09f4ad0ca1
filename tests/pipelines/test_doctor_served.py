"""What `zoo doctor` says of the model repository, and of the model server that is to serve it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from pipelines.doctor import Finding, served
from pipelines.home import models_config, models_folder
from serving.ports import free_ports
from serving.protos import get_model_status_pb2, model_service_pb2_grpc


@pytest.fixture
def repository(published):
    """A copy of the published model's, of this test's own, with a candidate beside the stable version."""
    shutil.copytree(published.home / "models" / "digits_cnn", models_folder() / "digits_cnn")
    shutil.copytree(models_folder() / "digits_cnn" / "1", models_folder() / "digits_cnn" / "2")
    write(entry("digits_cnn", 1, "version_labels { key: 'stable' value: 1 }") + entry("digits_cnn@candidate", 2))
    return models_folder() / "digits_cnn"


def entry(name, version, more="", base_path=None):
    return (
        f"config {{ name: '{name}' base_path: '{base_path or models_folder() / 'digits_cnn'}' "
        f"model_platform: 'tensorflow' model_version_policy {{ specific {{ versions: {version} }} }} {more} }}\n"
    )


def write(entries):
    models_folder().mkdir(parents=True, exist_ok=True)
    models_config().write_text(f"model_config_list {{ {entries} }}")


def problem():
    (found,) = served.repository()
    assert (found.name, found.level) == ("model repository", "problem")
    assert found.advice
    return found


def test_nothing_published():
    for _ in range(2):
        (found,) = served.repository()
        assert (found.level, found.found) == ("note", "nothing is published yet")
        assert "zoo publish" in found.advice
        write("")  # as the model server makes it that waits for its first model


def test_whole_versions(repository):
    (found,) = served.repository()
    assert found.level == "ok"
    assert found.found == f"{models_folder()}: digits_cnn 1, digits_cnn@candidate 2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_config_list { config { nome: 'x' } }", "nome"),
        ("model_config_list { config { name: 'x' base_path: 'x' model_platform: 'tensorflow' } }", "absolute path"),
        ("\x00\x01", "Error parsing"),
    ],
)
def test_a_config_that_no_server_would_start_with(text, words):
    models_folder().mkdir(parents=True)
    models_config().write_text(text)
    assert words in problem().found
    assert str(models_config()) in problem().found


def test_versions_that_are_not_whole(repository):
    (repository / "1" / "variables" / "variables.index").unlink()
    assert problem().found == "digits_cnn version 1 lacks variables/variables.index"
    (repository / "1" / "saved_model.pb").unlink()
    assert problem().found == "digits_cnn version 1 lacks saved_model.pb, variables/variables.index"
    shutil.rmtree(repository / "1")
    assert problem().found == "digits_cnn version 1 is served and is not there"
    shutil.copytree(repository / "2", repository / "1")
    (repository / "2" / "assets.extra" / "lineage.json").write_text("{")
    assert problem().found == "digits_cnn@candidate version 2 does not tell its run"


def test_a_repository_that_was_moved(repository):
    write(entry("digits_cnn", 1, base_path="/elsewhere/models/digits_cnn"))
    assert "/elsewhere/models/digits_cnn" in problem().found
    assert f'base_path: "{repository}"' in problem().advice


def test_a_model_of_somebody_elses(repository, tmp_path):
    """Which a model server may serve too, and which has no lineage of ours."""
    (tmp_path / "mine" / "1").mkdir(parents=True)
    write(entry("mine", 1, base_path=tmp_path / "mine"))
    (found,) = served.repository()
    assert (found.level, f"mine is served from {tmp_path / 'mine'}" in found.found) == ("note", True)


def test_a_label_on_what_is_not_served(repository):
    write(entry("digits_cnn", 1, "version_labels { key: 'stable' value: 2 }"))
    assert problem().found == "digits_cnn's label stable is on version 2, which is not served"


def test_no_server():
    (port,) = free_ports(1)
    for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"):
        (found,) = served.readiness(address)
        assert (found.level, found.found) == ("note", f"none answers at {address}")
        assert "zoo serve" in found.advice


def test_a_server_over_both_protocols(published_home, server):
    for address in (server.grpc_address, server.rest_address):
        assert served.readiness(address) == [
            Finding("model server", "ok", f"answers at {address}"),
            Finding("digits_cnn 1", "ok", "AVAILABLE"),
        ]


def test_a_server_that_serves_something_else(repository, server):
    write(entry("digits_cnn", 2) + entry("digits_cnn@candidate", 2) + entry("other", 1))
    first, version = served.readiness(server.grpc_address)
    assert (first.level, version.level) == ("problem", "problem")
    assert first.found.startswith("it does not serve digits_cnn@candidate, other: ")
    assert str(models_config()) in first.advice
    assert (version.name, version.found) == ("digits_cnn 2", "unknown to the server")


@contextmanager
def a_server_that_says(state, error=""):
    class Service(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):  # noqa: N802
            response = get_model_status_pb2.GetModelStatusResponse()
            response.model_version_status.add(version=1, state=state).status.error_message = error
            return response

    running = grpc.server(ThreadPoolExecutor(2))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Service(), running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield f"127.0.0.1:{port}"
    running.stop(None).wait()


def test_a_version_that_the_server_cannot_load(repository):
    write(entry("digits_cnn", 1))
    for state, error, words in (("END", "out of\nmemory", "END: out of memory"), ("LOADING", "", "LOADING")):
        with a_server_that_says(get_model_status_pb2.ModelVersionStatus.State.Value(state), error) as address:
            version = served.readiness(address)[1]
        assert (version.name, version.level, version.found) == ("digits_cnn 1", "problem", words)
        assert version.advice
