"""Versions, labels and policies, and how the served set changes while requests come in."""

import logging
import shutil
import threading
import time

import grpc
import numpy as np
import pytest

X = {"x": np.float32([0])}
TWO, THREE = {"y": [2.0]}, {"y": [3.0]}
SPECIFIC_1 = "model_version_policy { specific { versions: 1 } }"
SPECIFIC_2 = "model_version_policy { specific { versions: 2 } }"
SPECIFIC_12 = "model_version_policy { specific { versions: 1 versions: 2 } }"


def label(name, version):
    return f'version_labels {{ key: "{name}" value: {version} }} '


class Load:
    """Clients that ask on and on, over both transports, until they are stopped; `answers` holds what they got."""

    def __init__(self, client, name):
        self._stopping = threading.Event()
        self.answers = []
        targets = [lambda: client.predict(name, X)["y"], lambda: client.rest(f"{name}:predict", {"inputs": [0]})]
        self._threads = [threading.Thread(target=self._ask, args=(target,)) for target in targets * 2]

    def _ask(self, target):
        while not self._stopping.is_set():
            try:
                self.answers.append(str(target()))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a lost request
                self.answers.append(repr(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def test_version_folders(client):
    # Leading zeros, and a folder that is no version.
    assert client.states("half") == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_a_load_that_fails_says_why_and_stops_nothing_else(client):
    assert client.states("broken") == {1: "END"}
    status = client.rest("broken")[1]["model_version_status"][0]["status"]
    assert status["error_code"] != "OK"
    assert "Cannot load" in status["error_message"]
    assert client.rest("broken:predict", {"inputs": [0]}) == (
        404,
        {"error": "Servable not found for request: Latest(broken)"},
    )


def test_warm_up(client):
    assert client.states("warm") == {1: "AVAILABLE"}
    assert client.states("cold") == {1: "END"}
    status = client.rest("cold")[1]["model_version_status"][0]["status"]
    assert status["error_code"] == "INVALID_ARGUMENT"
    assert status["error_message"].startswith("Warm-up failed: Signature input alias: x(feed name: ")


def test_warm_up_switched_off_or_unreadable(servers, library, tmp_path, configure):
    library.put("cold", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"), "--enable_model_warmup=false")
    assert client.states("m") == {1: "AVAILABLE"}
    warm = library.put("warm", tmp_path / "n", 1)
    (warm / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"not a TFRecord")
    client = servers.start(configure("n", tmp_path / "n"))
    status = client.rest("n")[1]["model_version_status"][0]
    assert (status["state"], status["status"]["error_code"]) == ("END", "DATA_LOSS")


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [2, 3]),
        ("model_version_policy { all {} }", [1, 2, 3]),
        ("model_version_policy { specific { versions: 1 versions: 3 } }", [1, 3]),
    ],
)
def test_policies(servers, library, tmp_path, configure, policy, served):
    for version in (1, 2, 3):
        library.put("plus_two", tmp_path / "m", version)
    client = servers.start(configure("m", tmp_path / "m", policy))
    assert client.states("m") == dict.fromkeys(served, "AVAILABLE")


def test_a_single_model_without_a_config_file(servers, library, tmp_path):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start("", "--model_config_file=", "--model_name=m", f"--model_base_path={tmp_path / 'm'}")
    assert client.predict("m", X) == TWO


def test_a_missing_base_path_is_waited_for(servers, library, tmp_path, configure, caplog):
    with caplog.at_level(logging.WARNING):
        client = servers.start(configure("m", tmp_path / "m"))
    assert str(tmp_path / "m") in caplog.text
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(m\)"):
        client.predict("m", X)
    library.put("plus_two", tmp_path / "m", 1)
    client.wait_for("m", {1: "AVAILABLE"})
    assert client.predict("m", X) == TWO


def test_a_new_version_takes_over_without_losing_a_request(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"))
    with Load(client, "m") as load:
        library.put("plus_three", tmp_path / "m", 2)
        client.wait_for("m", {2: "AVAILABLE", 1: "END"})
    assert client.predict("m", X) == THREE
    assert set(load.answers) <= {"[2.0]", "[3.0]", "(200, {'outputs': [2.0]})", "(200, {'outputs': [3.0]})"}
    assert {"[2.0]", "(200, {'outputs': [2.0]})"} <= set(load.answers)


def test_a_request_in_flight_finishes_on_the_version_it_began_with(servers, library, tmp_path, configure):
    library.put("many", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"))
    slow = client.prediction.Predict.future(client.request("m", {"n": np.int64(400_000)}, signature="slow"))
    time.sleep(0.2)
    library.put("plus_three", tmp_path / "m", 2)
    while client.states("m").get(2) != "AVAILABLE":
        time.sleep(0.02)
    assert slow.result().model_spec.version.value == 1
    client.wait_for("m", {2: "AVAILABLE", 1: "END"})


def test_a_new_version_that_does_not_load_leaves_the_old_one(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"))
    library.put("broken", tmp_path / "m", 2)
    client.wait_for("m", {2: "END", 1: "AVAILABLE"})
    assert client.predict("m", X) == TWO
    # A third one mends it.
    library.put("plus_three", tmp_path / "m", 3)
    client.wait_for("m", {3: "AVAILABLE", 2: "END", 1: "END"})
    assert client.predict("m", X) == THREE


def test_a_version_that_is_deleted_goes_and_may_come_back(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    second = library.put("plus_three", tmp_path / "m", 2)
    client = servers.start(configure("m", tmp_path / "m", "model_version_policy { all {} }"))
    shutil.rmtree(second)
    client.wait_for("m", {2: "END", 1: "AVAILABLE"})
    assert client.predict("m", X) == TWO
    library.put("plus_three", tmp_path / "m", 2)
    client.wait_for("m", {2: "AVAILABLE", 1: "AVAILABLE"})


def test_a_failed_load_is_retried(servers, library, tmp_path, configure):
    version = library.put("broken", tmp_path / "m", 1)
    flags = ["--max_num_load_retries=1000", "--load_retry_interval_micros=1000", "--file_system_poll_wait_seconds=0"]
    client = servers.start(configure("m", tmp_path / "m"), *flags)
    assert client.states("m") == {1: "LOADING"}
    shutil.rmtree(version)
    library.put("plus_two", tmp_path / "m", 1)
    client.wait_for("m", {1: "AVAILABLE"})
    assert client.rest("m")[1]["model_version_status"][0]["status"] == {"error_code": "OK", "error_message": ""}


def test_versions_load_side_by_side(servers, library, tmp_path, configure):
    for version in (1, 2, 3):
        library.put("plus_two", tmp_path / "m", version)
    policy = "model_version_policy { all {} }"
    client = servers.start(configure("m", tmp_path / "m", policy), "--num_load_threads=3")
    assert client.states("m") == dict.fromkeys((1, 2, 3), "AVAILABLE")


def test_a_stopped_server_leaves_no_threads_and_frees_its_ports(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    before = set(threading.enumerate())
    ports = None
    for _ in range(2):
        client = servers.start(configure("m", tmp_path / "m"), ports=ports)
        assert client.predict("m", X) == TWO
        assert client.rest("m:predict", {"inputs": [0]}) == (200, {"outputs": [2.0]})
        ports = client.ports
        servers.stop()
    left = {
        thread for thread in set(threading.enumerate()) - before if thread.name.startswith(("rest", "watch", "load"))
    }
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)


class TestNewConfig:
    """Changes of the config file while the server runs."""

    @pytest.fixture
    def client(self, servers, library, tmp_path, configure):
        library.put("plus_two", tmp_path / "m", 1)
        config = configure("m", tmp_path / "m", SPECIFIC_1 + label("stable", 1))
        return servers.start(config, "--model_config_file_poll_wait_seconds=1")

    def test_versions_and_labels_move_without_losing_a_request(self, client, servers, library, tmp_path, configure):
        with Load(client, "m") as load:
            library.put("plus_three", tmp_path / "m", 2)
            labels = label("stable", 1) + label("candidate", 2)
            servers.write(configure("m", tmp_path / "m", SPECIFIC_12 + labels))
            client.wait_for("m", {2: "AVAILABLE", 1: "AVAILABLE"})
            assert client.predict("m", X, label="stable") == TWO
            assert client.predict("m", X, label="candidate") == THREE
            servers.write(configure("m", tmp_path / "m", SPECIFIC_2 + label("stable", 2)))
            client.wait_for("m", {2: "AVAILABLE", 1: "END"})
        assert client.predict("m", X, label="stable") == THREE
        with pytest.raises(grpc.RpcError, match="Unrecognized servable version label: candidate"):
            client.predict("m", X, label="candidate")
        assert set(load.answers) <= {"[2.0]", "[3.0]", "(200, {'outputs': [2.0]})", "(200, {'outputs': [3.0]})"}

    def test_models_come_and_go(self, client, servers, library, tmp_path, configure):
        library.put("plus_three", tmp_path / "n", 5)
        servers.write(configure("n", tmp_path / "n"))
        client.wait_for("n", {5: "AVAILABLE"})
        client.wait_for("m", {1: "END"})
        with pytest.raises(grpc.RpcError, match=r"Latest\(m\)"):
            client.predict("m", X)

    def test_a_model_moves_to_another_folder(self, client, servers, library, tmp_path, configure):
        library.put("plus_three", tmp_path / "elsewhere", 1)
        with Load(client, "m") as load:
            servers.write(configure("m", tmp_path / "elsewhere"))
            while client.predict("m", X) != THREE:
                time.sleep(0.02)
        assert set(load.answers) <= {"[2.0]", "[3.0]", "(200, {'outputs': [2.0]})", "(200, {'outputs': [3.0]})"}

    def test_a_bad_config_is_logged_once_and_the_old_one_stays(
        self, client, servers, library, tmp_path, configure, caplog
    ):
        library.put("broken", tmp_path / "m", 2)
        bad = [
            "nonsense",
            'base_path: "relative"',
            SPECIFIC_1 + label("stable", 2),  # a label outside the policy
            SPECIFIC_12 + label("stable", 3),  # a label without a folder
            SPECIFIC_12 + label("stable", 2),  # a label on a version that does not load
        ]

        def refusals():
            return [record for record in caplog.records if "New config refused" in record.message]

        for number, extra in enumerate(bad, start=1):
            servers.write(configure("m", tmp_path / "m", extra))
            while len(refusals()) < number:
                time.sleep(0.05)
            assert client.states("m") == {1: "AVAILABLE"}
            assert client.predict("m", X, label="stable") == TWO
        time.sleep(1.5)
        assert len(refusals()) == len(bad)
        servers.write(configure("m", tmp_path / "m", SPECIFIC_1 + label("gold", 1)))
        while client.rest("m/labels/gold")[0] != 200:
            time.sleep(0.05)

    def test_a_refused_config_is_tried_again_when_the_version_appears(
        self, client, servers, library, tmp_path, configure, caplog
    ):
        servers.write(configure("m", tmp_path / "m", SPECIFIC_12 + label("candidate", 2)))
        while "New config refused" not in caplog.text:
            time.sleep(0.05)
        library.put("plus_three", tmp_path / "m", 2)
        client.wait_for("m", {2: "AVAILABLE", 1: "AVAILABLE"})
        assert client.predict("m", X, label="candidate") == THREE
