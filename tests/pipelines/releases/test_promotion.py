import json
import threading

import mlflow
import pytest

from pipelines.errors import UsageError
from pipelines.gate import Limits
from pipelines.promotion import GateRefusedError, promote
from pipelines.release_log import Change, ReleaseLog
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


def test_the_candidate_becomes_stable_and_back(released, client, answering):
    assert (answering(), answering(None)) == (1, 1)
    assert answering(None, f"{NAME}@candidate") == 2

    promotion = promote(NAME, None, [client.address], Limits())
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
    promotion = promote(NAME, None, [client.address], Limits())
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
        (WORSE, Limits(), "validation", r"10\.00 % on held-out images, version 1 .* worse, and 0\.5 are allowed"),
        (DIFFERENT, Limits(), "parity", r"is .* from Keras on 64 real images, and 1e-04 is allowed"),
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
    promote(NAME, WORSE, [client.address], Limits(margin=95))
    assert answering() == WORSE


def test_figures_of_other_data_do_not_compare(released, client):
    path = released.repository.version_folder(NAME, TWIN) / "assets.extra" / "lineage.json"
    facts = read_lineage(released.repository.version_folder(NAME, TWIN))
    facts["validation"]["dataset_digest"] = "0123456789abcdef"
    path.write_text(json.dumps(facts))
    with pytest.raises(GateRefusedError, match="this one on 0123456789ab, which does not compare; --other-data takes"):
        promote(NAME, None, [client.address], Limits())
    assert promote(NAME, None, [client.address], Limits(other_data=True)).change.version == TWIN


def test_a_version_of_which_no_held_out_figure_is_known_is_refused(released, client):
    path = released.repository.version_folder(NAME, TWIN) / "assets.extra" / "lineage.json"
    facts = read_lineage(released.repository.version_folder(NAME, TWIN)) | {"validation": None}
    path.write_text(json.dumps(facts))
    with pytest.raises(GateRefusedError, match="nothing tells how it does on held-out images"):
        promote(NAME, None, [client.address], Limits())


def test_a_first_version_passes_the_gate_too(released, serve):
    released.repository.serve(NAME, Served(candidate=TWIN))
    client = serve(released.home)
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(digits_cnn\)"):
        difference_from_export(client, NAME, None, None, released.repository.version_folder(NAME, TWIN))
    promotion = promote(NAME, None, [client.address], Limits())
    assert promotion.report.stable is None
    assert "there is no stable version to compare with" in promotion.report.checks[0].found
    assert released.served == Served(stable=TWIN)


def test_several_servers_move_together(released, client, serve):
    other = serve(released.home, poll=0)
    promote(NAME, None, [client.address, other.address], Limits())
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
    promote(NAME, None, [client.address], Limits())
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
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            seen.extend([answering(), answering(None)])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    with pytest.raises(GateRefusedError):
        promote(NAME, WORSE, [client.address], Limits())
    assert set(seen) == {1}
    promote(NAME, TWIN, [client.address], Limits())
    rollback(NAME, [client.address])
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {1, 2}


def test_what_cannot_be_promoted(released, client, published):
    address = [client.address]
    with pytest.raises(UsageError, match="No version of 'letters' is published; published are: digits_cnn"):
        promote("letters", None, address, Limits())
    with pytest.raises(UsageError, match="digits_cnn has no version 9; it has 1, 2, 3, 4"):
        promote(NAME, 9, address, Limits())
    released.repository.serve(NAME, Served(stable=1))
    with pytest.raises(UsageError, match="digits_cnn has no candidate; `zoo publish RUN` makes one"):
        promote(NAME, None, address, Limits())
    assert promote(NAME, 1, address, Limits()).report is None  # it is stable already: nothing to decide
    (port,) = free_ports(1)
    with pytest.raises(ServingError, match="No model server answers"):
        promote(NAME, TWIN, [f"127.0.0.1:{port}"], Limits())
    assert released.served == Served(stable=1)


def test_another_change_waits_for_the_interrupted_one(released, client):
    log = ReleaseLog(released.repository.root / NAME)
    log.begin(Change("promote", TWIN, STABLE))
    with pytest.raises(
        UsageError, match="promotion of digits_cnn version 2 was interrupted; finish it with `zoo promote"
    ):
        promote(NAME, WORSE, [client.address], Limits())
    log.begin(Change("rollback", STABLE, TWIN))
    with pytest.raises(UsageError, match="A rollback of digits_cnn was interrupted; finish it first"):
        promote(NAME, None, [client.address], Limits())
    assert rollback(NAME, [client.address]).version == STABLE
    assert log.pending is None
