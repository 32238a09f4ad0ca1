"""`zoo doctor` as a whole, and what it says of ports, disk, datasets and the tracking store."""

import json
import re
import socket
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import uvicorn
from mlflow.server.fastapi_security import HostValidationMiddleware

from pipelines import doctor
from pipelines.doctor import Finding, installation, ports, storage, tracking
from pipelines.home import home
from pipelines.journal import Journal
from pipelines.tracking import tracking_uri
from serving.ports import free_ports


def by_name(findings):
    return {finding["name"]: finding for finding in findings}


def test_a_machine_that_serves_what_is_published(zoo_command, published_home, server):
    status, out, err = zoo_command("doctor", "--json", "--server", server.grpc_address)
    found = by_name(json.loads(out))
    assert (status, err) == (0, "")
    assert all(set(finding) == {"name", "level", "found", "advice"} for finding in found.values())
    assert {finding["level"] for finding in found.values()} <= {"ok", "note"}
    well = ["Python", "packages", "TensorFlow", "home", "disk", "tracking", "unsent runs", "model repository"]
    well += ["model server", "digits_cnn 1"]
    assert {name: found[name]["level"] for name in well} == dict.fromkeys(well, "ok")
    assert all(finding["advice"] for finding in found.values() if finding["level"] != "ok")
    assert found["digits_cnn 1"]["found"] == "AVAILABLE"


def test_lines_for_people_and_status_1_for_a_problem(zoo_command, monkeypatch):
    """Also where a check itself breaks down: the others are told."""

    def broken():
        raise RuntimeError("no [bold] such thing")

    monkeypatch.setattr(installation, "tensorflow", lambda: Finding("TensorFlow", "ok", "9.9"))
    monkeypatch.setattr(installation, "packages", broken)
    (port,) = free_ports(1)
    status, out, _ = zoo_command("doctor", "--server", f"127.0.0.1:{port}")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 1
    assert "ok TensorFlow 9.9" in lines
    assert "problem packages cannot be looked at: RuntimeError: no [bold] such thing" in " ".join(lines)
    assert f"note model server none answers at 127.0.0.1:{port}" in " ".join(lines)
    assert "→ zoo serve starts one" in " ".join(lines)
    assert lines[-1].startswith("1 problem, ")
    assert not home().exists(), "the doctor makes nothing"


@pytest.mark.parametrize(("levels", "last"), [(["ok"], "All is well."), (["note", "note"], "2 notes")])
def test_the_last_line(zoo_command, monkeypatch, levels, last):
    monkeypatch.setattr(doctor, "examine", lambda server: [Finding("x", level, "y") for level in levels])
    status, out, _ = zoo_command("doctor")
    assert (status, out.splitlines()[-1]) == (0, last)


@contextmanager
def answering(app):
    """A real HTTP server on a port of its own: its number."""
    config = uvicorn.Config(app, host="127.0.0.1", port=free_ports(1)[0], log_level="critical")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield config.port
    finally:
        running.should_exit = True
        thread.join()


def answers(**texts):
    """An application that answers each path with its text, and 404 to others."""

    async def app(scope, receive, send):
        if scope["type"] == "http":
            text = texts.get(scope["path"].strip("/").rpartition("/")[2])
            await send({"type": "http.response.start", "status": 404 if text is None else 200, "headers": []})
            await send({"type": "http.response.body", "body": (text or "").encode()})

    return app


MLFLOW = {"health": "OK", "version": "3.17.2"}


LOOKS = [ports.grpc_port, ports.rest_port, ports.ui_port, ports.proxy_port, ports.prometheus_port]


@pytest.mark.parametrize("look", LOOKS)
def test_a_port_is_free_or_somebody_elses(look, monkeypatch):
    monkeypatch.setattr(ports, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = look(taken.getsockname()[1])
    assert (found.level, found.found.split(";")[0]) == ("note", "taken by something else")
    assert re.search(r"another port: (zoo (serve|ui) --(port|rest_api_port)\b.*)?[A-Z]+_PORT=", found.advice)
    found = look(free_ports(1)[0])
    assert (found.level, found.advice) == ("ok", "")
    assert found.found.startswith("free, for ")


def test_a_port_where_its_own_server_answers(server, monkeypatch):
    number = int(server.grpc_address.rpartition(":")[2])
    assert ports.grpc_port(number) == Finding(f"port {number}", "ok", "a model server answers there")
    number = int(server.rest_address.rpartition(":")[2])
    assert ports.rest_port(number) == Finding(f"port {number}", "ok", "a model server answers there")
    assert ports.grpc_port(number).level == "note", "REST where gRPC was expected"
    with answering(answers(**MLFLOW)) as number:
        assert ports.ui_port(number) == Finding(f"port {number}", "ok", "MLflow 3.17.2 answers there")
        assert ports.rest_port(number).level == "note"
    with answering(answers(health="OK")) as number:
        assert ports.ui_port(number).level == "note", "others have a page /health too"
    with answering(answers(healthz="ok\n", healthy="Prometheus Server is Healthy.\n")) as number:
        assert ports.proxy_port(number) == Finding(f"port {number}", "ok", "the proxy answers there")
        assert ports.prometheus_port(number) == Finding(f"port {number}", "ok", "Prometheus answers there")
    # A proxy for the world outside is not asked for this machine's own servers.
    with answering(answers(**MLFLOW)) as number:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{number}")
        assert ports.mlflow_version(f"http://127.0.0.1:{free_ports(1)[0]}") == ""


def test_room_in_the_home(monkeypatch, tmp_path):
    here, space = storage.disk()
    assert (here.level, space.level) == ("ok", "ok")
    assert "made when it is first written to" in here.found
    assert not home().exists()
    home().mkdir()
    assert storage.disk()[0].found == str(home())

    for enough, least, level in ((1e9, 1e8, "problem"), (1e9, 0, "note")):
        monkeypatch.setattr(storage, "ENOUGH", enough)
        monkeypatch.setattr(storage, "LEAST", least)
        space = storage.disk()[1]
        assert space.level == level
        assert "ZOO_HOME" in space.advice

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "home"))
    (here,) = storage.disk()
    assert here.level == "problem"
    assert "cannot be written to" in here.found


def test_datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    assert [(f.name, f.level) for f in storage.datasets()] == [("mnist", "note"), ("cifar10", "note")]

    none = np.zeros(0)
    np.savez(tmp_path / "mnist.npz", x_train=none, y_train=none, x_test=none, y_test=none)
    (tmp_path / "keras" / "datasets" / "cifar-10-batches-py-target").mkdir(parents=True)
    mnist, cifar10 = storage.datasets()
    assert mnist == Finding("mnist", "ok", str(tmp_path / "mnist.npz"))
    assert (cifar10.level, str(tmp_path / "keras") in cifar10.found) == ("ok", True)

    np.savez(tmp_path / "mnist.npz", x_train=none, y_train=none)
    (tmp_path / "cifar10.npz").write_bytes(b"half a file")
    mnist, cifar10 = storage.datasets()
    assert (mnist.level, mnist.found) == ("problem", f"{tmp_path / 'mnist.npz'} lacks x_test, y_test")
    assert (cifar10.level, "cannot be read" in cifar10.found) == ("problem", True)

    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path / "nowhere"))
    (found,) = storage.datasets()
    assert (found.level, found.found.split(",")[0]) == ("problem", f"ZOO_DATA_DIR is {tmp_path / 'nowhere'}")


def test_the_tracking_stores_file(store):
    assert tracking.store() == Finding("tracking", "ok", tracking_uri())
    (home() / "mlflow.db").write_bytes(b"no database" * 1000)
    found = tracking.store()
    assert (found.level, "file is not a database" in found.found) == ("problem", True)
    (home() / "mlflow.db").unlink()
    found = tracking.store()
    assert (found.level, "made by the first run" in found.found) == ("ok", True)
    assert not (home() / "mlflow.db").exists()


def test_a_tracking_server_whose_allowed_hosts_lack_ours(monkeypatch):
    """MLflow's own check, which lets /health through."""
    app = answers(**MLFLOW, search='{"experiments": []}')
    with answering(HostValidationMiddleware(app, ["mlflow", "mlflow:5000"])) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        found = tracking.store()
    assert found.level == "problem"
    assert f"its --allowed-hosts lack 127.0.0.1:{port}" in found.found
    assert f"MLFLOW_MORE_HOSTS=127.0.0.1:{port} into .env, else add 127.0.0.1:{port} to --allowed-hosts" in found.advice
    with answering(HostValidationMiddleware(app, ["127.0.0.1:*"])) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        assert tracking.store() == Finding("tracking", "ok", f"http://127.0.0.1:{port}")


def test_a_tracking_server_that_is_away_or_none(monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    found = tracking.store()
    assert (found.level, found.found) == ("problem", f"no server answers at http://user:…@127.0.0.1:{port}")
    with answering(answers(health="OK")) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        found = tracking.store()
    assert (found.level, "404" in found.found) == ("problem", True)


def test_a_database_that_nobody_listens_for(monkeypatch):
    """Its driver, which would wait for minutes, is not asked at all."""
    (port,) = free_ports(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://mlflow:hunter2@127.0.0.1:{port}/mlflow")
    found = tracking.store()
    shown = f"postgresql+psycopg2://mlflow:…@127.0.0.1:{port}/mlflow"
    assert (found.level, found.found) == ("problem", f"no server answers at {shown}")
    # Nor waited for where somebody listens who never says anything.
    monkeypatch.setattr(tracking, "STORE_SECONDS", 0.5)
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)  # or what is left behind holds MLflow's lock on
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://mlflow:hunter2@127.0.0.1:{port}/mlflow")
        found = tracking.store()
    for left in [thread for thread in threading.enumerate() if thread.name == "tracking store"]:
        left.join(20)
        assert not left.is_alive()
    assert found.level == "problem"
    assert found.found.endswith(f"@127.0.0.1:{port}/mlflow does not answer within 0.5 s")
    # Where the address itself is wrong, what it is called by says so.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow:hun/ter2@127.0.0.1/mlflow")
    assert "ter2" not in str(tracking.store())


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("http://mlflow:5000/", "mlflow:5000"),
        ("http://mlflow/base", "mlflow"),
        ("https://user:secret@Runs.example:443", "runs.example"),
        ("http://[::1]:5000", "[::1]:5000"),
    ],
)
def test_the_host_that_is_missing_is_the_one_that_is_sent(url, header):
    assert tracking.host_header(url) == header


def test_unsent_runs(small_recipe, monkeypatch):
    none = [Finding("unsent runs", "ok", "none")]
    assert tracking.unsent() == none
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    journal = Journal.create("a" * 32, tracking_uri(), "train", {}, small_recipe)
    journal.append("status", status="RUNNING")
    assert tracking.unsent() == none, "a process is at work on it"
    journal.release()
    (found,) = tracking.unsent()
    assert (found.level, found.found) == ("note", "1 run waits to be sent to the tracking store")
    assert found.advice == "zoo sync sends them."
    # The same server has another name for the host than for containers.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    (found,) = tracking.unsent()
    assert found.found.startswith(
        "1 run waits to be sent to http://mlflow:5000, and the tracking store is http://local"
    )
    assert "docker compose run --rm client zoo sync" in found.advice
