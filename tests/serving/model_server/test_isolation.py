"""The server by itself: what it imports, where it listens, what it writes, and how far its paths reach."""

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from google.protobuf import text_format

from serving.model_server.flags import parse_flags
from serving.model_server.server import ModelServer
from serving.protos import meta_graph_pb2, saved_model_pb2

ROOT = Path(__file__).parents[3]
# What the command line, the pipelines and the tracking bring, and a model server has no use for.
NOT_NEEDED = ["typer", "rich", "pydantic", "ruamel", "mlflow", "keras_tuner", "keras", "jax", "matplotlib", "sklearn"]
NOT_NEEDED += ["jinja2", "PIL", "zoo", "pipelines"]


class Process:
    """`python -m serving.model_server`, up to the line that says that REST is there."""

    def __init__(self, *flags, code="", cwd=ROOT, env=None):
        module = ["-c", code] if code else ["-m", "serving.model_server"]
        environment = {**os.environ, **(env or {}), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, *module, *flags], cwd=cwd, env=environment, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            if "Exporting HTTP/REST API at:" in line:
                break

    def stop(self):
        """Its exit status; `lines` has the rest of what it said."""
        self.process.send_signal(signal.SIGTERM)
        self.lines += self.process.stderr.readlines()
        return self.process.wait(60)


@pytest.fixture
def flags(library, tmp_path, ports):
    library.put("plus_two", tmp_path / "models" / "m", 1)
    grpc_port, rest_port = ports(2)
    return [
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        "--model_name=m",
        f"--model_base_path={tmp_path / 'models' / 'm'}",
    ]


def ask(flags):
    port = flags[1].partition("=")[2]
    return httpx.post(f"http://127.0.0.1:{port}/v1/models/m:predict", json={"instances": [1]}).json()


def test_it_runs_without_the_packages_of_the_command_line(flags):
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_NEEDED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from serving.model_server.__main__ import main
status = main(sys.argv[1:])
imported = {{name.partition(".")[0] for name, module in sys.modules.items() if module is not None}}
print("imported:", sorted(imported & set({NOT_NEEDED})), file=sys.stderr)
sys.exit(status)
"""
    server = Process(*flags, code=code)
    assert ask(flags) == {"predictions": [2.5]}
    assert server.stop() == 0
    assert server.lines[-1] == "imported: []\n"


def test_it_imports_none_of_them_where_they_are(flags):
    code = f"""
import sys
from serving.model_server.__main__ import main
status = main(sys.argv[1:])
imported = {{name.partition(".")[0] for name, module in sys.modules.items() if module is not None}}
print("imported:", sorted(imported & set({NOT_NEEDED})), file=sys.stderr)
sys.exit(status)
"""
    server = Process(*flags, code=code)
    assert server.stop() == 0
    assert server.lines[-1] == "imported: []\n"


def listening(server):
    connections = psutil.Process(server.process.pid).net_connections()
    addresses = [ipaddress.ip_address(each.laddr.ip) for each in connections if each.status == psutil.CONN_LISTEN]
    # gRPC listens by IPv6 to addresses of IPv4.
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


def test_it_listens_on_loopback_alone(flags, tmp_path):
    server = Process(*flags, f"--grpc_socket_path={tmp_path / 'socket'}")
    found = listening(server)
    assert server.stop() == 0
    assert len(found) == 2
    assert all(address.is_loopback for address in found)


def test_it_listens_elsewhere_when_it_is_told_to(flags):
    server = Process(*flags, "--host=0.0.0.0")
    found = listening(server)
    assert server.stop() == 0
    assert len(found) == 2
    assert all(address.is_unspecified for address in found)


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_it_writes_nothing(flags, tmp_path):
    for name in ("cwd", "home", "tmp"):
        (tmp_path / name).mkdir()
    before = snapshot(tmp_path)
    env = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    server = Process(*flags, cwd=tmp_path / "cwd", env=env)
    assert ask(flags) == {"predictions": [2.5]}
    open_for_writing = [
        file.path
        for file in psutil.Process(server.process.pid).open_files()
        if file.mode != "r" and not file.path.startswith(("/dev/", "/memfd:"))
    ]
    assert server.stop() == 0
    assert open_for_writing == []
    assert snapshot(tmp_path) == before


def test_it_starts_where_nothing_can_be_written(flags, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    # Python looks for a folder for temporary files in these, and in the current one.
    env = {"HOME": nowhere, "TMPDIR": nowhere, "PYTHONDONTWRITEBYTECODE": "1"}
    code = """
import sys, tempfile
def refuse(*arguments, **keywords):
    raise FileNotFoundError("No usable temporary directory found")
tempfile._get_default_tempdir = refuse
from serving.model_server.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    server = Process(*flags, code=code, env=env)
    assert ask(flags) == {"predictions": [2.5]}
    assert server.stop() == 0


def test_its_log_as_json(flags):
    server = Process(*flags, "--log_format=json", "--enable_profiler")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.lines]
    assert all(line["time"].endswith("Z") and line["level"] and line["logger"] and line["message"] for line in lines)
    states = [(line["model"], line["version"], line["state"]) for line in lines if "state" in line]
    assert states == [("m", 1, state) for state in ("LOADING", "AVAILABLE", "UNLOADING", "END")]
    assert [line["message"] for line in lines if line["level"] == "WARNING"] == [
        "--enable_profiler has no effect in this server"
    ]


def test_it_ends_within_the_time_to_drain(library, tmp_path, ports):
    library.put("many", tmp_path / "m", 1)
    grpc_port, rest_port = ports(2)
    server = Process(
        f"--port={grpc_port}",
        f"--rest_api_port={rest_port}",
        "--model_name=m",
        f"--model_base_path={tmp_path / 'm'}",
        "--drain_seconds=8",
    )
    answers = []

    def ask_slowly(n):
        url = f"http://127.0.0.1:{rest_port}/v1/models/m:predict"
        answers.append(httpx.post(url, json={"signature_name": "slow", "inputs": n}, timeout=60).json())

    threads = [threading.Thread(target=ask_slowly, args=(n,)) for n in (1_000_000, 10**12)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert server.stop() == 0
    took = time.monotonic() - began
    for thread in threads:
        thread.join()
    # What can be answered in the time is, what cannot gets a word.
    assert {"outputs": 1_000_000} in answers
    assert {"error": "The server is shutting down"} in answers
    # The limit and what the process takes to go; not a measurement.
    assert took < 8 + 10


class TestPaths:
    """No path out of a model's folder is followed."""

    def states_and_reason(self, client):
        (status,) = client.rest("m")[1]["model_version_status"]
        return status["state"], status["status"]["error_code"], status["status"]["error_message"]

    def test_a_version_that_is_a_link_out_does_not_serve(self, servers, library, tmp_path, configure):
        library.put("plus_three", tmp_path / "elsewhere", 7)
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "2").symlink_to(tmp_path / "elsewhere" / "7")
        client = servers.start(configure("m", tmp_path / "m"))
        state, code, reason = self.states_and_reason(client)
        assert (state, code) == ("END", "PERMISSION_DENIED")
        assert "m/2 is a link that leads out of" in reason

    def test_a_link_inside_and_a_base_path_that_is_one_are_followed(self, servers, library, tmp_path, configure):
        library.put("plus_two", tmp_path / "real" / "releases", "first")
        (tmp_path / "real" / "3").symlink_to(Path("releases") / "first")
        (tmp_path / "m").symlink_to(tmp_path / "real")
        client = servers.start(configure("m", tmp_path / "m"))
        assert client.states("m") == {3: "AVAILABLE"}

    def test_a_file_that_is_a_link_out_keeps_a_version_from_serving(self, servers, library, tmp_path, configure):
        version = library.put("plus_two", tmp_path / "m", 1)
        secret = tmp_path / "secret"
        secret.write_text("secret")
        (version / "assets").mkdir(exist_ok=True)
        (version / "assets" / "words.txt").symlink_to(secret)
        client = servers.start(configure("m", tmp_path / "m"))
        state, code, reason = self.states_and_reason(client)
        assert (state, code) == ("END", "PERMISSION_DENIED")
        assert "words.txt is a link that leads out of" in reason

    @pytest.mark.parametrize("name", ["../../../secret", "/etc/hostname"])
    @pytest.mark.parametrize("way", ["field", "collection", "text"])
    def test_an_asset_whose_name_leads_out(self, servers, library, tmp_path, configure, name, way):
        """Listed in the field, in the collection that TF1's writer has for it, or in a graph in text format."""
        version = library.put("tf1", tmp_path / "m", 1)
        file = version / "saved_model.pb"
        model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        asset = meta_graph_pb2.AssetFileDef(filename=name)
        asset.tensor_info.name = "x:0"
        if way == "collection":
            model.meta_graphs[0].collection_def["saved_model_assets"].any_list.value.add().Pack(asset)
        else:
            model.meta_graphs[0].asset_file_def.append(asset)
        if way == "text":
            file.unlink()
            file.with_suffix(".pbtxt").write_text(text_format.MessageToString(model))
        else:
            file.write_bytes(model.SerializeToString())
        client = servers.start(configure("m", tmp_path / "m"))
        state, code, reason = self.states_and_reason(client)
        assert (state, code) == ("END", "PERMISSION_DENIED")
        assert f"the asset '{name}', which is outside" in reason

    @pytest.mark.parametrize("name", ["..%2Fm", "..", "%2E%2E", "m%00", "m/../m"])
    def test_names_of_models_are_no_paths(self, client, name):
        assert client.http.get(f"/v1/models/{name}").status_code in (400, 404)


def test_no_port_answers_before_the_models_are_loaded(library, tmp_path, ports):
    library.put("plus_two", tmp_path / "m", 1)
    for port in ports(2):
        flags = parse_flags([f"--port={port}", "--model_name=m", f"--model_base_path={tmp_path / 'm'}"])
        server = ModelServer(flags)
        # A look at the port must not tell that it is up.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        server.start()
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        assert server.stop()


def test_a_port_of_a_name(library, tmp_path, flags):
    """`localhost` is an address, too."""
    server = Process(*flags, "--host=localhost")
    with socket.create_connection(("127.0.0.1", int(flags[0].partition("=")[2]))):
        pass
    assert server.stop() == 0
