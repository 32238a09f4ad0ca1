"""Promotions and rollbacks where something is in the way: what was interrupted, is gone, away, or cannot be judged."""

import json
import shutil
import time

import pytest

from pipelines.errors import PipelineError, UsageError
from pipelines.gate import Limits
from pipelines.promotion import GateRefusedError, promote
from pipelines.release_log import Change, ReleaseLog
from pipelines.switching import rollback, withdraw
from serving.artifact import read_lineage
from serving.client import GrpcClient
from serving.errors import ServingError
from serving.model_server.watcher import Watcher
from serving.ports import free_ports
from serving.repository import Served

NAME = "digits_cnn"
STABLE, TWIN, WORSE, DIFFERENT = 1, 2, 3, 4
SLOW = 60_000.0
LENIENT = Limits(latency=SLOW)  # how busy the machine is decides no test


def test_an_interrupted_change_and_another_version(released, client):
    journal = ReleaseLog(released.repository.root / NAME)
    journal.begin(Change("rollback", STABLE, TWIN))
    with pytest.raises(
        UsageError, match="A rollback of digits_cnn was interrupted; finish it with `zoo rollback digits"
    ):
        promote(NAME, None, [client.address], LENIENT)
    assert promote(NAME, TWIN, [client.address], LENIENT).change.version == TWIN
    assert journal.pending is None

    # It stays the stable one: the rollback is not wanted any more.
    journal.begin(Change("rollback", STABLE, TWIN))
    assert promote(NAME, TWIN, [client.address], LENIENT).report is None
    assert (journal.pending, released.served) == (None, Served(stable=TWIN))

    journal.begin(Change("promote", DIFFERENT, TWIN))
    assert promote(NAME, STABLE, [client.address], LENIENT).change.version == STABLE
    assert journal.pending is None
    assert rollback(NAME, [client.address]).version == TWIN


def test_a_rollback_takes_a_promotion_back_and_is_none_itself(released, client):
    for version in (TWIN, STABLE):
        promote(NAME, version, [client.address], LENIENT)
    assert rollback(NAME, [client.address]).version == TWIN
    assert rollback(NAME, [client.address]).version == STABLE
    with pytest.raises(UsageError, match="Nothing was stable before digits_cnn version 1"):
        rollback(NAME, [client.address])


def test_a_version_whose_folder_is_gone(released, client, answering):
    promote(NAME, None, [client.address], LENIENT)
    shutil.rmtree(released.repository.version_folder(NAME, STABLE))
    with pytest.raises(UsageError, match=r"digits_cnn version 1 is not in .* any more; put it back, or make another"):
        rollback(NAME, [client.address])
    assert ReleaseLog(released.repository.root / NAME).pending is None
    # The stable one's itself, which the server has loaded still.
    shutil.rmtree(released.repository.version_folder(NAME, TWIN))
    with pytest.raises(GateRefusedError):
        promote(NAME, WORSE, [client.address], Limits(latency=0))
    assert promote(NAME, WORSE, [client.address], LENIENT).change.version == WORSE
    assert answering() == WORSE


def test_a_server_that_was_left_out_is_brought_in_step(released, client, serve, tensorflow_servings_rule, monkeypatch):
    """It reads models.config by itself, and refuses what moves its label before it has the version."""
    other = serve(released.home, poll=1)
    with monkeypatch.context() as meanwhile:
        # Were it to look in the middle, it would load the version in time.
        meanwhile.setattr(Watcher, "_reread", lambda self: None)
        promote(NAME, None, [client.address], LENIENT)
    time.sleep(2.5)  # it has looked at the file
    assert other.version_of(NAME) == STABLE
    promote(NAME, TWIN, [client.address, other.address], LENIENT)
    assert other.version_of(NAME) == TWIN
    rollback(NAME, [client.address])
    rollback_of_both = promote(NAME, STABLE, [client.address, other.address], LENIENT)
    assert rollback_of_both.change.version == STABLE
    assert (client.version_of(NAME), other.version_of(NAME)) == (STABLE, STABLE)


def test_a_server_that_moves_its_label_itself_meanwhile(released, client, monkeypatch):
    """It has read models.config between our question, which version has the label, and our reload."""
    version_of, outdated = GrpcClient.version_of, [TWIN]
    monkeypatch.setattr(GrpcClient, "version_of", lambda self, *a: outdated.pop() if outdated else version_of(self, *a))
    assert promote(NAME, None, [client.address], LENIENT).change.version == TWIN
    assert not outdated


def test_a_candidate_that_a_server_cannot_load_is_taken_back(released, client, answering):
    (released.repository.version_folder(NAME, WORSE) / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ServingError, match=r"cannot load digits_cnn@candidate version 3.*is no candidate any more"):
        promote(NAME, WORSE, [client.address], LENIENT)
    assert released.served == Served(stable=STABLE, candidate=TWIN)
    assert answering() == STABLE


def test_a_candidate_is_withdrawn(released, client, answering):
    assert withdraw(NAME, [client.address]) == TWIN
    assert released.served == Served(stable=STABLE)
    assert released.aliases == {"stable": STABLE}
    with pytest.raises(ServingError, match="Servable not found"):
        answering(None, f"{NAME}@candidate")
    with pytest.raises(UsageError, match="digits_cnn has no candidate to withdraw"):
        withdraw(NAME, [client.address])


def test_a_label_does_not_move_to_what_answers_otherwise(released, client, answering, monkeypatch):
    """A version of whose files the server has others: the label is still where it was."""
    monkeypatch.setattr("pipelines.switching.difference_from_export", lambda *a: (0.5, TWIN))
    with pytest.raises(PipelineError, match=r"otherwise than its network did, by 5\.0e-01, so that the label stays"):
        promote(NAME, None, [client.address], LENIENT)
    assert (released.served.stable, answering()) == (STABLE, STABLE)
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_HOME", str(released.home))
    assert rollback(NAME, [client.address]).version == STABLE
    assert released.served == Served(stable=STABLE, candidate=TWIN)


def test_mlflow_need_not_be_there_for_a_rollback(released, client, answering, monkeypatch, caplog):
    promote(NAME, None, [client.address], LENIENT)
    (port,) = free_ports(1)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        assert rollback(NAME, [client.address]).version == STABLE
    assert answering() == STABLE
    assert "MLflow's aliases of digits_cnn are not moved" in caplog.text


def test_what_the_gate_cannot_judge(released, client, monkeypatch):
    folder = released.repository.version_folder(NAME, TWIN)
    path = folder / "assets.extra" / "lineage.json"
    facts = read_lineage(folder)
    path.write_text(json.dumps(facts | {"run_id": "0" * 32}))
    with pytest.raises(PipelineError, match="digits_cnn version 2 is of, is not in MLflow any more"):
        promote(NAME, None, [client.address], LENIENT)
    path.write_text(json.dumps(facts | {"validation": {**facts["validation"], "accuracy": float("nan")}}))
    with pytest.raises(GateRefusedError, match="its accuracy on held-out images is nan"):
        promote(NAME, None, [client.address], LENIENT)
    path.unlink()
    with pytest.raises(UsageError, match="has no lineage that can be read"):
        promote(NAME, None, [client.address], LENIENT)
    with pytest.raises(UsageError, match="--margin is nan; expected a number"):
        Limits(margin=float("nan"))


def test_a_version_from_before_figures_were_written_down(released, client):
    """Its run still tells how it did on held-out images."""
    for version in (STABLE, TWIN):
        folder = released.repository.version_folder(NAME, version)
        facts = read_lineage(folder)
        del facts["validation"]
        (folder / "assets.extra" / "lineage.json").write_text(json.dumps(facts))
    report = promote(NAME, None, [client.address], LENIENT).report
    assert report.checks[0].values["stable"] == report.checks[0].values["candidate"] > 0.5


def test_a_version_of_which_nothing_tells_how_it_does(released, client, monkeypatch):
    """Its run held nothing out, and no other of its recipe is known; then the same of the stable one."""
    monkeypatch.setattr("pipelines.gate.validation_of", lambda *a: None)
    for version in (TWIN, STABLE):
        folder = released.repository.version_folder(NAME, version)
        facts = read_lineage(folder)
        path = folder / "assets.extra" / "lineage.json"
        path.write_text(json.dumps(facts | {"validation": None}))
        if version == TWIN:
            with pytest.raises(GateRefusedError, match="nothing tells how it does on held-out images"):
                promote(NAME, None, [client.address], Limits(latency=60_000.0, other_data=True))
            path.write_text(json.dumps(facts))
    with pytest.raises(
        GateRefusedError, match="nothing tells how version 1, the stable one, does on them; --other-data"
    ):
        promote(NAME, None, [client.address], LENIENT)
    assert promote(NAME, None, [client.address], Limits(latency=60_000.0, other_data=True)).change.version == TWIN
