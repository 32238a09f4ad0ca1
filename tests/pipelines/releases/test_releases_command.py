"""`zoo releases`, `promote`, `rollback` and `predict` as their user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.lineage import lineage_of
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect, find_run
from serving.artifact import read_lineage
from serving.ports import free_ports
from serving.repository import Served

NAME = "digits_cnn"
SEVEN = Path(__file__).parents[3] / "docs" / "images" / "seven.png"


@pytest.fixture
def listed(zoo_command):
    """`zoo releases … --json`."""

    def run(*arguments, server=None):
        address = ["--server", server] if server else []
        status, out, err = zoo_command("releases", *arguments, *address, "--json")
        return status, json.loads(out or "null"), err

    return run


def test_promote_rollback_and_the_list(released, client, zoo_command, listed):
    at = ["--server", client.address]
    status, out, err = zoo_command("promote", NAME, *at)
    assert status == 0, err
    assert "validation" in out
    assert "not used" in out
    assert f"stable          {NAME} version 2" in out
    status, found, _ = listed(server=client.address)
    assert status == 0
    assert [(v["version"], v["label"]) for v in found["versions"]] == [(1, ""), (2, "stable"), (3, ""), (4, "")]
    assert found["versions"][1]["servers"] == {client.address: "AVAILABLE"}
    status, out, _ = zoo_command("releases", *at)
    assert status == 0
    assert out.count("stable") == 2  # the label, and what the server says

    status, out, err = zoo_command("rollback", NAME, *at)
    assert (status, out) == (0, f"stable          {NAME} version 1, in place of 2\n"), err
    status, out, _ = zoo_command("promote", NAME, "2", *at, "--json")
    report = json.loads(out)
    assert (report["action"], report["version"], report["previous"]) == ("promote", 2, 1)
    assert report["report"]["passed"] is True
    status, out, _ = zoo_command("rollback", NAME, *at, "--json")
    assert json.loads(out)["version"] == 1


def test_a_refusal_shows_the_report_and_ends_with_status_1(released, client, zoo_command):
    status, out, err = zoo_command("promote", NAME, "3", "--server", client.address)
    assert status == 1
    assert "refused" in out
    assert "Error: digits_cnn version 3 is refused, and version 1 stays stable: 10.00 % on held-out images" in err
    status, out, err = zoo_command("promote", NAME, "3", "--server", client.address, "--json")
    assert status == 1
    assert json.loads(out)["passed"] is False


def test_from_an_answer_to_its_run_commit_and_dataset_and_back(released, client, zoo_command, listed, published):
    status, out, err = zoo_command("predict", SEVEN, "--server", client.address, "--json")
    assert status == 0, err
    (answer,) = json.loads(out)
    tags = find_run(published.run.run_id).data.tags
    assert (answer["model"], answer["version"], answer["run_id"]) == (NAME, 1, published.run.run_id)
    assert answer["commit"] == tags.get("mlflow.source.git.commit")
    assert answer["dataset_digest"] == published.run.data.digest == tags["zoo.dataset_digest"]

    for reference in (answer["run_id"], answer["run_id"][:8]):
        _, found, _ = listed(reference)
        assert [(v["model"], v["version"], v["label"]) for v in found["versions"]] == [(NAME, 1, "stable")]
    _, found, _ = listed(answer["dataset_digest"][:10])
    assert [v["version"] for v in found["versions"]] == [1, 2, 3, 4]
    status, out, _ = zoo_command("releases", answer["run_id"])
    assert answer["run_id"] in out
    assert answer["dataset_digest"] in out

    status, out, _ = zoo_command("predict", SEVEN, "--server", client.address, "--label", "candidate", "--json")
    assert json.loads(out)[0]["version"] == 2
    status, out, _ = zoo_command("predict", SEVEN, "--server", client.address)
    assert "answered by     digits_cnn version 1" in out


def test_who_tells_where_a_version_comes_from(released, published, monkeypatch):
    run_id, digest = published.run.run_id, published.run.data.digest
    found = lineage_of(NAME, 1)
    assert (found.run_id, found.dataset_digest, found.told_by) == (run_id, digest, "repository")
    assert lineage_of(NAME, 99).run_id is None
    # A tracking server that is named has the numbers of all versions, this machine's repository its own.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{released.home}/mlflow.db")
    (released.repository.version_folder(NAME, 1) / "assets.extra" / "lineage.json").unlink()
    found = lineage_of(NAME, 1)
    assert (found.run_id, found.dataset_digest, found.told_by) == (run_id, digest, "MLflow")
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert lineage_of(NAME, 2).told_by == "repository"


def test_verify_proves_that_what_is_served_was_exported(released, client, listed):
    status, found, err = listed("--verify", server=client.address)
    proofs = {proof["version"]: proof for proof in found["proofs"]}
    # The graph of version 4 was tampered with before its hash was taken: that is the gate's to find.
    assert status == 0, err
    assert all(proof["holds"] for proof in proofs.values())
    assert proofs[1]["answered"] == proofs[2]["answered"] == [client.address]

    labels = released.repository.version_folder(NAME, 1) / "assets" / "labels.txt"
    labels.write_text(labels.read_text().replace("7", "1"))
    status, found, err = listed("--verify", server=client.address)
    assert status == 1
    assert "Not what was exported: digits_cnn version 1, its files have the hash" in err
    assert "says MLflow" in err
    assert [proof["version"] for proof in found["proofs"] if not proof["holds"]] == [1]


def test_verify_finds_lineage_that_was_exchanged(released, listed):
    one, two = (released.repository.version_folder(NAME, v) / "assets.extra" / "lineage.json" for v in (1, 2))
    facts = json.loads(one.read_text())
    facts["run_id"] = json.loads(two.read_text())["run_id"]
    one.write_text(json.dumps(facts))
    status, _, err = listed("--verify")
    assert status == 1
    assert "digits_cnn version 1, its lineage names run" in err


def test_verify_finds_an_endpoint_that_serves_something_else(released, client, listed, monkeypatch):
    """As one does that loaded its files before they were exchanged."""
    ask = type(client).ask

    def other(self, *arguments, **options):
        answer = ask(self, *arguments, **options)
        answer.outputs["probabilities"] = np.roll(answer.outputs["probabilities"], 1, axis=1)
        return answer

    monkeypatch.setattr(type(client), "ask", other)
    status, _, err = listed("--verify", server=client.address)
    assert status == 1
    assert f"{client.address} answers otherwise than the network did" in err


def test_verify_finds_a_server_whose_stable_version_is_another(released, serve, listed):
    server = serve(released.home, poll=0)  # it does not look at models.config again
    released.repository.serve(NAME, Served(stable=2))
    status, found, err = listed("--verify", server=server.address)
    assert status == 1
    assert [v["version"] for v in found["versions"] if v["stable_at"]] == [1]
    assert f"{server.address} answers as stable with version 1" in err


def test_verify_does_not_accuse_where_it_could_not_ask(released, listed, monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    status, found, err = listed(NAME, "--verify")
    assert status == 1
    assert "Not proven, since it could not be asked: digits_cnn version 1, MLflow's registry" in err
    assert found["not_repaired"]
    assert not any(proof["problems"] for proof in found["proofs"])


def test_the_list_does_not_wait_for_who_publishes(released, listed):
    with released.repository.lock():
        status, found, _ = listed()
    assert status == 0
    assert found["not_repaired"] == "another command is publishing or promoting"
    assert len(found["versions"]) == 4


def test_commits_lead_to_versions(released, listed):
    folder = released.repository.version_folder(NAME, 2)
    facts = read_lineage(folder) | {"commit": "c0ffee0123456789"}
    (folder / "assets.extra" / "lineage.json").write_text(json.dumps(facts))
    _, found, _ = listed("c0ffee")
    assert [v["version"] for v in found["versions"]] == [2]


def test_withdraw(released, client, zoo_command):
    status, out, err = zoo_command("withdraw", NAME, "--server", client.address)
    assert status == 0, err
    assert out.startswith(f"withdrawn       {NAME} version 2")
    assert released.served == Served(stable=1)


def test_aliases_are_repaired_from_models_config(released, listed):
    connect().set_registered_model_alias(NAME, "stable", "3")
    connect().delete_registered_model_alias(NAME, "candidate")
    _, found, _ = listed()
    assert found["repaired"] == [
        "alias stable of digits_cnn: version 3 in MLflow, now version 1",
        "alias candidate of digits_cnn: none in MLflow, now version 2",
    ]
    assert released.aliases == {"stable": 1, "candidate": 2}
    released.repository.serve(NAME, Served(stable=1))
    _, found, _ = listed()
    assert found["repaired"] == ["alias candidate of digits_cnn: version 2 in MLflow, now none"]
    assert listed()[1]["repaired"] == []


def test_an_interrupted_change_is_told(released, zoo_command, listed):
    ReleaseLog(released.repository.root / NAME).begin(Change("promote", 2, 1))
    assert listed()[1]["pending"][NAME]["version"] == 2
    _, out, _ = zoo_command("releases")
    assert "interrupted: promotion of digits_cnn version 2" in out
    assert "finish it with `zoo promote digits_cnn`" in out


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["promote", "letters"], 2, "No version of 'letters' is published; published are: digits_cnn"),
        (["promote", NAME, "--server", "http://localhost:8501"], 2, "'http://localhost:8501' is no gRPC address"),
        (["promote", NAME, "--server", "localhost"], 2, "'localhost' is no gRPC address; expected HOST:PORT"),
        (["promote", NAME, "--server", "127.0.0.1:1"], 1, "No model server answers at 127.0.0.1:1"),
        (["promote", f"{NAME}/", "2"], 2, "No version of 'digits_cnn/' is published"),
        (["withdraw", NAME, "--server", "127.0.0.1:1"], 1, "No model server answers at 127.0.0.1:1"),
        (["rollback", NAME, "--server", "127.0.0.1:1"], 1, "No model server answers at 127.0.0.1:1"),
        (["releases", "--server", "127.0.0.1:1"], 1, "No model server answers at 127.0.0.1:1"),
        (["releases", "nothing"], 2, "Nothing published is called 'nothing' or comes from such a run"),
        (["releases", "../models"], 2, "Nothing published is called '../models'"),
    ],
)
def test_a_wrong_call_is_one_sentence(zoo_command, arguments, status, says):
    found, out, err = zoo_command(*arguments)
    assert (found, out) == (status, "")
    assert err.splitlines()[-1].startswith(f"Error: {says}")


@pytest.mark.usefixtures("store")
def test_nothing_published(zoo_command):
    status, out, _ = zoo_command("releases")
    assert (status, out) == (0, "Nothing is published yet; `zoo publish RUN` makes a version.\n")
    status, _, err = zoo_command("rollback", NAME)
    assert status == 2
    assert "No version of 'digits_cnn' is published; published are: none" in err
