import json
import threading

import mlflow
import pytest

from pipelines.errors import UsageError
from pipelines.gate import Limits
from pipelines.promotion import GateRefusedError, promote
from pipelines.release_log import ReleaseLog
from pipelines.switching import rollback
from pipelines.tracking import connect
from serving.artifact import read_lineage
from serving.client import GrpcClient
from serving.errors import ServingError
from serving.parity import difference_from_export
from serving.ports import free_ports
from serving.repository import Served

NAME = "digits_cnn"
STABLE, TWIN, WORSE, DIFFERENT = 1, 2, 3, 4
SLOW = 60_000.0
LENIENT = Limits(latency=SLOW)  # how busy the machine is decides no test


def test_the_candidate_becomes_stable_and_back(released, client, answering):
    assert (answering(), answering(None)) == (1, 1)
    assert answering(None, f"{NAME}@candidate") == 2

    promotion = promote(NAME, None, [client.address], LENIENT)
    assert promotion.report.passed
    assert (promotion.change.version, promotion.change.previous) == (2, 1)
    assert released.served == Served(stable=2)
    assert released.aliases == {"stable": 2}
    assert (answering(), answering(None)) == (2, 2)

    change = rollback(NAME, [client.address])
    assert (change.version, change.previous) == (1, 2)
    assert released.served == Served(stable=1)
    assert released.aliases == {"stable": 1}
    assert (answering(), answering(None)) == (1, 1)
    with pytest.raises(UsageError, match="Nothing was stable before digits_cnn version 1"):
        rollback(NAME, [client.address])


def test_the_report_is_in_the_run_and_test_figures_decide_nothing(released, client):
    promotion = promote(NAME, None, [client.address], LENIENT)
    report = promotion.report
    assert [check.name for check in report.checks] == ["validation", "parity", "latency"]
    assert set(report.test_accuracy) == {"candidate", "stable"}
    file = max(connect().list_artifacts(report.run_id, "gate"), key=lambda found: found.path)
    logged = json.loads(mlflow.artifacts.load_text(f"runs:/{report.run_id}/{file.path}"))
    assert logged == json.loads(json.dumps(report.as_dict()))
    assert logged["checks"][1]["values"]["difference"] <= 1e-6
    assert connect().get_model_version(NAME, "2").tags["zoo.gate"] == "passed"


@pytest.mark.parametrize(
    ("version", "limits", "check", "says"),
    [
        (WORSE, LENIENT, "validation", r"10\.00 % on held-out images, version 1 .* worse, and 0\.5 are allowed"),
        (DIFFERENT, LENIENT, "parity", r"is .* from Keras on 64 real images, and 1e-04 is allowed"),
        (TWIN, Limits(latency=0), "latency", r"95 of 100 within .* ms; the budget is 0 ms"),
    ],
)  # fmt: skip
def test_the_gate_refuses_with_the_reason(released, client, answering, version, limits, check, says):
    with pytest.raises(
        GateRefusedError, match=f"version {version} is refused, and version 1 stays stable: .*{says}"
    ) as no:
        promote(NAME, version, [client.address], limits)
    assert [c.name for c in no.value.report.checks if not c.passed] == [check]
    assert released.served == Served(stable=1, candidate=version)
    assert (answering(), answering(None)) == (1, 1)
    assert ReleaseLog(released.repository.root / NAME).pending is None
    assert connect().get_model_version(NAME, str(version)).tags["zoo.gate"].startswith("refused: ")


def test_a_margin_lets_a_worse_version_through(released, client, answering):
    promote(NAME, WORSE, [client.address], Limits(margin=95, latency=SLOW))
    assert answering() == WORSE


def test_figures_of_other_data_do_not_compare(released, client):
    path = released.repository.version_folder(NAME, TWIN) / "assets.extra" / "lineage.json"
    facts = read_lineage(released.repository.version_folder(NAME, TWIN))
    facts["validation"]["dataset_digest"] = "0123456789abcdef"
    path.write_text(json.dumps(facts))
    with pytest.raises(GateRefusedError, match="this one on 0123456789ab, which does not compare; --other-data takes"):
        promote(NAME, None, [client.address], LENIENT)
    assert promote(NAME, None, [client.address], Limits(other_data=True, latency=SLOW)).change.version == TWIN


def test_a_first_version_passes_the_gate_too(released, serve):
    released.repository.serve(NAME, Served(candidate=TWIN))
    client = serve(released.home)
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(digits_cnn\)"):
        difference_from_export(client, NAME, None, None, released.repository.version_folder(NAME, TWIN))
    promotion = promote(NAME, None, [client.address], LENIENT)
    assert promotion.report.stable is None
    assert "there is no stable version to compare with" in promotion.report.checks[0].found
    assert released.served == Served(stable=TWIN)


def test_several_servers_move_together(released, client, serve):
    other = serve(released.home, poll=0)
    promote(NAME, None, [client.address, other.address], LENIENT)
    folder = released.repository.version_folder(NAME, TWIN)
    for server in (client, other):
        for label in ("stable", None):
            apart, version = difference_from_export(server, NAME, None, label, folder)
            assert (apart < 1e-5, version) == (True, TWIN)


def test_a_label_only_ever_moves_to_a_version_that_is_loaded(released, client, monkeypatch):
    """TensorFlow Serving refuses anything else: it moves labels before it loads."""
    configs = []
    reload = GrpcClient.reload
    monkeypatch.setattr(GrpcClient, "reload", lambda self, config: (configs.append(config), reload(self, config)))
    promote(NAME, None, [client.address], LENIENT)
    rollback(NAME, [client.address])
    versions, labels = {1}, {"stable": 1}
    for config in configs:
        model = next(m for m in config.model_config_list.config if m.name == NAME)
        for label, version in model.version_labels.items():
            assert version in versions or label not in labels, config
        versions, labels = set(model.model_version_policy.specific.versions), dict(model.version_labels)
    assert len(configs) >= 5


def test_no_request_is_lost_or_reaches_what_was_not_let_through(released, client, answering):
    """While a worse version is refused, a good one promoted and taken back, requests go on."""
    seen, lost, stop = [], [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                seen.extend([answering(), answering(None)])
            except ServingError as error:
                lost.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    with pytest.raises(GateRefusedError):
        promote(NAME, WORSE, [client.address], LENIENT)
    assert set(seen) == {1}
    promote(NAME, TWIN, [client.address], LENIENT)
    rollback(NAME, [client.address])
    assert all(thread.is_alive() for thread in threads)
    stop.set()
    for thread in threads:
        thread.join()
    assert not lost
    assert set(seen) == {1, 2}


def test_what_cannot_be_promoted(released, client, published):
    address = [client.address]
    with pytest.raises(UsageError, match="No version of 'letters' is published; published are: digits_cnn"):
        promote("letters", None, address, LENIENT)
    with pytest.raises(UsageError, match="digits_cnn has no version 9; it has 1, 2, 3, 4"):
        promote(NAME, 9, address, LENIENT)
    released.repository.serve(NAME, Served(stable=1))
    with pytest.raises(UsageError, match="digits_cnn has no candidate; `zoo publish RUN` makes one"):
        promote(NAME, None, address, LENIENT)
    assert promote(NAME, 1, address, LENIENT).report is None  # it is stable already: nothing to decide
    (port,) = free_ports(1)
    with pytest.raises(ServingError, match="No model server answers"):
        promote(NAME, TWIN, [f"127.0.0.1:{port}"], LENIENT)
    assert released.served == Served(stable=1)
