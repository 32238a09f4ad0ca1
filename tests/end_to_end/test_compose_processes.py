"""Parts of the production stack, run as processes with docker-compose.yml's own commands and variables."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from serving.local_server import local_server
from serving.model_server.config import parse_config
from serving.ports import free_ports
from tests.compose_file import load, process
from tests.stack_processes import fill_template, nginx_command

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "docker" / "proxy" / "default.conf.template"
ME = str(os.getuid())
# Debian puts the servers where only root's PATH looks.
PATH = f"{os.environ['PATH']}:/usr/sbin"
needs_nginx = pytest.mark.skipif(not shutil.which("nginx", path=PATH), reason="nginx is not installed (nginx-light)")
needs_prometheus = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (prometheus)")


@pytest.fixture(scope="module")
def compose():
    return load(ROOT / "docker-compose.yml")


@pytest.fixture
def setup(compose, tmp_path):
    """Run the service setup on a home and a place for secrets of this test; `given` are a user's variables."""
    (tmp_path / "secrets").mkdir()

    def run(given=None, **environment):
        variables = {"PWD": str(tmp_path), "ZOO_UID": ME, "ZOO_GID": str(os.getgid()), **(given or {})}
        service = process(compose, "setup", variables)
        own = {"POSTGRES_UID": ME, "MLFLOW_UID": ME, "SECRETS": str(tmp_path / "secrets")}
        own |= {"POSTGRES_PASSWORD_FILE": "/dev/null", "CALLED_WITH": str(ROOT / "docker-compose.yml")}
        environment = {"PATH": PATH, **service.environment, **own, **environment}
        command = [service.command[0], str(ROOT / "docker" / Path(service.command[1]).name)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def read(path):
    return path.read_text("utf-8")


def test_setup_of_a_clone_with_nothing_in_it(setup, tmp_path):
    done = setup()
    assert done.returncode == 0, done.stderr
    config = tmp_path / "artifacts" / "models" / "models.config"
    assert parse_config(read(config)).models == ()
    assert stat.S_IMODE(config.stat().st_mode) == 0o644
    password = read(tmp_path / "secrets" / "postgres-password")
    assert len(password) == 32
    assert read(tmp_path / "secrets" / "pgpass") == f"*:*:*:*:{password}\n"
    for path in (tmp_path / "secrets").iterdir():
        # PostgreSQL's client ignores a file that others can read.
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert password not in done.stdout + done.stderr
    assert sorted(path.name for path in config.parent.iterdir()) == ["models.config"]


def test_setup_run_again_changes_nothing(setup, tmp_path):
    setup()
    config = tmp_path / "artifacts" / "models" / "models.config"
    config.write_text('model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } }')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = setup()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_every_start_makes_up_another_password(setup, tmp_path):
    setup()
    first = read(tmp_path / "secrets" / "postgres-password")
    (tmp_path / "secrets" / "postgres-password").unlink()
    setup()
    assert read(tmp_path / "secrets" / "postgres-password") != first


def test_a_given_password_counts_and_is_printed_nowhere(setup, tmp_path):
    setup()
    password = r"a:b\c %@'\"é $HOME `id`"
    done = setup(POSTGRES_PASSWORD=password)
    assert done.returncode == 0
    assert read(tmp_path / "secrets" / "postgres-password") == password
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    assert read(tmp_path / "secrets" / "pgpass") == f"*:*:*:*:{escaped}\n"
    assert "%@" not in done.stdout + done.stderr


def test_a_given_file_counts(setup, tmp_path):
    (tmp_path / "mine").write_text("from a file\n")
    assert setup(POSTGRES_PASSWORD_FILE=str(tmp_path / "mine")).returncode == 0
    assert read(tmp_path / "secrets" / "postgres-password") == "from a file"
    (tmp_path / "mine").write_text("two\nlines\n")
    done = setup(POSTGRES_PASSWORD_FILE=str(tmp_path / "mine"))
    assert done.returncode == 1
    assert done.stderr == "The PostgreSQL password has several lines; give one.\n"
    done = setup(POSTGRES_PASSWORD_FILE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "POSTGRES_PASSWORD_FILE names a folder; give a file that holds the password.\n"


def test_setup_is_for_this_project_only(setup, tmp_path):
    """Called in another project's folder, whose name then stands in PWD."""
    other = tmp_path / "docker-compose.yml"
    other.write_text("name: something-else\nservices: {}\n")
    done = setup(CALLED_WITH=str(other))
    assert done.returncode == 1
    assert f"called in another project's folder, {tmp_path}: call it in the clone's root" in done.stderr
    assert not (tmp_path / "artifacts").exists()
    assert setup(CALLED_WITH=str(tmp_path)).returncode == 0  # with ZOO_HOME it is that folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_docker_made_is_given_away(setup, tmp_path):
    done = setup({"ZOO_UID": "54321", "ZOO_GID": "54321"})
    assert done.returncode == 0
    assert f"gave {tmp_path}/artifacts to user 54321 (ZOO_UID)" in done.stdout
    assert (tmp_path / "artifacts").stat().st_uid == 54321


def test_another_ones_folder_is_told(setup, tmp_path):
    setup()
    (tmp_path / "artifacts" / "tuning").mkdir()
    done = setup({"ZOO_UID": "54321"})
    assert f"{tmp_path}/artifacts belongs to user {ME} and the services run as 54321" in done.stderr
    assert f"put ZOO_UID={ME} and" in done.stderr
    assert f"or run sudo chown -R 54321:{os.getgid()} {tmp_path}/artifacts" in done.stderr


@pytest.fixture
def proxy(compose, tmp_path):
    """The command that runs the proxy, its address, and the model server's port behind it."""
    port, rest_port = free_ports(2)
    variables = {"PWD": str(ROOT), "LISTEN_ADDRESS": "127.0.0.1", "SERVING_HOST": "127.0.0.1", "PROXY_BODY_SIZE": "2m"}
    service = process(compose, "proxy", {**variables, "PROXY_PORT": str(port), "REST_PORT": str(rest_port)})
    service.environment["PROXY_ROOT"] = str(ROOT / "docker" / "proxy" / "html")
    return nginx_command(TEMPLATE, service, tmp_path), f"http://127.0.0.1:{port}", rest_port, service


@needs_nginx
def test_the_proxy_starts_before_the_model_server_and_outlives_it(proxy, setup, tmp_path):
    command, address, rest_port, service = proxy
    subprocess.run([*command, "-t"], env={"PATH": PATH}, check=True, capture_output=True)
    assert setup().returncode == 0
    config = tmp_path / "artifacts" / "models" / "models.config"
    nginx = subprocess.Popen(command, env={"PATH": PATH}, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            wait_for(client, "/healthz", 200)
            assert subprocess.run(service.healthcheck, check=False).returncode == 0
            away = client.get("/v1/models/digits_cnn")
            assert away.status_code == 503
            assert away.json() == {"error": "The model server does not answer; try again in a moment."}
            # It waits for its first model, and answers as TensorFlow Serving does.
            with local_server([f"--model_config_file={config}", f"--rest_api_port={rest_port}"]) as server:
                wait_for(client, "/v1/models/digits_cnn", 404)
                assert "digits_cnn" in client.get("/v1/models/digits_cnn").json()["error"]
                large = {"instances": [{"b64": "A" * 1_500_000}]}
                assert client.post("/v1/models/digits_cnn:predict", json=large).status_code == 404
                # Candidates have not passed the gate; the model server's own words would name the model.
                for candidate in ("digits_cnn@candidate", "digits_cnn%40candidate", "a%2F..%2Fdigits_cnn@candidate"):
                    for path in ("", ":predict", "/versions/1:predict", "/metadata"):
                        refused = client.get(f"/v1/models/{candidate}{path}")
                        assert refused.status_code == 404
                        assert refused.headers["Content-Type"] == "application/json"
                        assert refused.json() == {"error": "No model with @ in its name is served here."}
                assert "digits_cnn" in client.get("/v1/models/digits_cnn?x=@").json()["error"]
                larger = client.post("/v1/models/digits_cnn:predict", content=b" " * 2_500_000)
                assert larger.status_code == 413
                assert "larger than 2m" in larger.json()["error"]
                assert server.process.poll() is None
            assert client.get("/v1/models/digits_cnn").status_code == 503
            page = client.get("/")
            assert "There is no more to see here yet." in page.text
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            # Metrics and all else of the model server stay behind it.
            assert client.get("/monitoring/prometheus/metrics").status_code == 404
    finally:
        nginx.terminate()
        nginx.wait(timeout=20)


def wait_for(client, path, status):
    last = None
    for _ in range(300):
        try:
            last = client.get(path).status_code
        except httpx.TransportError as error:
            last = error
        if last == status:
            return
        time.sleep(0.1)
    pytest.fail(f"{path} answers {last}, not {status}")


def test_the_template_is_filled_with_what_it_names_and_nothing_else(compose):
    service = process(compose, "proxy", {"PWD": "/p"})
    filled = fill_template(read(TEMPLATE), {**service.environment, "host": "x", "serving": "y"})
    assert "listen 0.0.0.0:8080;" in filled
    assert "set $serving tensorflow-serving:8501;" in filled
    assert "proxy_set_header Host $host;" in filled
    assert "${" not in filled


@needs_nginx
def test_the_proxy_starts_where_the_model_servers_name_is_not_known_yet(compose, tmp_path):
    service = process(compose, "proxy", {"PWD": str(ROOT), "SERVING_HOST": "no-such-host.invalid"})
    command = nginx_command(TEMPLATE, service, tmp_path)
    done = subprocess.run([*command, "-t"], env={"PATH": PATH}, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_prometheus
def test_prometheus_is_told_the_servers_address(compose, tmp_path):
    service = process(compose, "prometheus", {"PWD": "/p", "SERVING_HOST": "127.0.0.1", "REST_PORT": "1234"})
    folder = ROOT / "docker" / "prometheus"
    environment = {**service.environment, "TEMPLATE": str(folder / "prometheus.yml"), "TMPDIR": str(tmp_path)}
    # The command but for the server itself, which is asked what it would run with.
    (tmp_path / "prometheus").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "prometheus").chmod(0o755)
    environment["PATH"] = f"{tmp_path}:{PATH}"
    command = [service.command[0], str(folder / "start.sh"), *service.command[2:]]
    started = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert started[0] == f"--config.file={tmp_path}/prometheus.yml"
    assert started[1:] == service.command[2:]
    check = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    subprocess.run(check, check=True, capture_output=True)
    assert '["127.0.0.1:1234"]' in read(tmp_path / "prometheus.yml")
    monitoring = read(ROOT / "serving" / "config" / "monitoring.config")
    assert 'path: "/monitoring/prometheus/metrics"' in monitoring
    assert "metrics_path: /monitoring/prometheus/metrics" in read(tmp_path / "prometheus.yml")
