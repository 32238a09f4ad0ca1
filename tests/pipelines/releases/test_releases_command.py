"""`zoo releases`, `promote`, `rollback` and `predict` as their user calls them."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.lineage import lineage_of
from pipelines.release_log import Change, ReleaseLog
from pipelines.tracking import connect, find_run
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
    assert "stable" in out
    assert "available" in out

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


def test_a_machine_without_the_repository_asks_mlflow(released, published):
    (released.repository.version_folder(NAME, 1) / "assets.extra" / "lineage.json").unlink()
    found = lineage_of(NAME, 1)
    assert (found.run_id, found.dataset_digest) == (published.run.run_id, published.run.data.digest)
    assert lineage_of(NAME, 99).run_id is None


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
