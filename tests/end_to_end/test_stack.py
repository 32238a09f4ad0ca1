"""The production stack without Docker: its services as processes, with docker-compose.yml's own commands and variables.

Searched, published, promoted, asked through the proxy and taken back, all against them.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from serving.artifact import read_lineage
from serving.client import connect
from serving.ports import free_ports
from tests.compose_file import load, process
from tests.stack_processes import nginx_command

ROOT = Path(__file__).parents[2]
ZOO = [sys.executable, "-m", "pipelines.cli"]
BINARIES = Path(sys.executable).parent
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PATH = os.pathsep.join([str(BINARIES), *map(str, DEBIAN[-1:]), os.environ["PATH"], "/usr/sbin"])
# Debian's packages, by a program of each.
NEEDED = {"postgresql": "initdb", "nginx-light": "nginx", "curl": "curl"}
MISSING = [package for package, program in NEEDED.items() if not shutil.which(program, path=PATH)]
# PostgreSQL does not run as root: started by root, it runs as the user whom its package has made.
AS_ROOT = os.getuid() == 0
RECIPE = "--set network.arguments.filters=[4,6] --set network.arguments.dense_units=[16] --set epochs=2"
SEARCH = '--seeds 1 --set "search={optimizer.learning_rate: {min: 0.001, max: 0.01}}"'


class Stack:
    """What Compose does with the file: variables put in, services started, their health waited for."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables
        self.compose = load(ROOT / "docker-compose.yml")
        self.processes: dict[str, subprocess.Popen] = {}

    def start(
        self,
        service: str,
        *,
        name: str | None = None,
        command: Callable[[list[str]], list[str]] = lambda command: command,
        **environment: str,
    ) -> "subprocess.Popen[bytes]":
        """Start a service; `command` changes what it runs where this machine has it elsewhere, `environment` adds."""
        found = process(self.compose, service, self.variables)
        log = (self.folder / f"{name or service}.log").open("ab")
        everywhere = {"PATH": PATH, "HOME": str(self.folder), "LANG": "C.UTF-8", "CUDA_VISIBLE_DEVICES": "-1"}
        self.processes[name or service] = subprocess.Popen(
            command(found.command),
            env={**everywhere, **found.environment, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self.processes[name or service]

    def wait_until_healthy(self, service: str) -> None:
        """Ask as Compose asks."""
        check = process(self.compose, service, self.variables).healthcheck
        running = self.processes[service]
        for _ in range(300):
            assert running.poll() is None, self.log(service)
            if subprocess.run(check, env={"PATH": PATH}, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.2)
        pytest.fail(f"{service} did not become healthy:\n{self.log(service)}")

    def log(self, name: str) -> str:
        """What a service printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def stop(self, *names: str) -> None:
        """Those, or all, the last one first; whoever does not end is killed with all that it has started."""
        for name in names or reversed(self.processes):
            running = self.processes[name]
            running.terminate()
            try:
                running.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


@pytest.fixture
def stack():
    # Not pytest's folder, which is nobody's but its owner's: PostgreSQL is another user.
    folder = Path(tempfile.mkdtemp(prefix="zoo-stack-"))
    folder.chmod(0o755)
    names = ("GRPC_PORT", "REST_PORT", "PROXY_PORT", "MLFLOW_PORT", "POSTGRES_PORT", "CHIEF_PORT")
    here = dict.fromkeys(
        ("SERVING_HOST", "MLFLOW_HOST", "POSTGRES_HOST", "CHIEF_HOST", "LISTEN_ADDRESS", "DNS_RESOLVER"), "127.0.0.1"
    )
    variables = {
        **{name: str(port) for name, port in zip(names, free_ports(len(names)), strict=True)},
        **here,
        "PWD": str(folder),
        "ZOO_UID": str(os.getuid()),
        "ZOO_GID": str(os.getgid()),
        "MLFLOW_ARTIFACTS": str(folder / "mlartifacts"),
        "TUNE_TRIALS": "3",
        "TUNE_SETTINGS": f"{RECIPE} {SEARCH}",
        "TUNE_THREADS": "1",
    }
    running = Stack(folder, variables)
    yield running
    running.stop()
    left = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]
    assert not left
    shutil.rmtree(folder)


def set_up(stack):
    """The one-shot service, and what PostgreSQL's image does at its first start."""
    secrets, data = stack.folder / "secrets", stack.folder / "postgres"
    secrets.mkdir()
    data.mkdir()
    database_user = pwd.getpwnam("postgres") if AS_ROOT else pwd.getpwuid(os.getuid())
    own = {"SECRETS": str(secrets), "POSTGRES_PASSWORD_FILE": "/dev/null", "POSTGRES_UID": str(database_user.pw_uid)}
    own["CALLED_WITH"] = str(ROOT / "docker-compose.yml")
    script = str(ROOT / "docker" / "setup.sh")
    made = stack.start("setup", command=lambda command: [command[0], script], **own, MLFLOW_UID=str(os.getuid()))
    assert made.wait(timeout=60) == 0, stack.log("setup")
    shutil.chown(data, database_user.pw_uid)
    service = process(stack.compose, "postgres", stack.variables)
    arguments = service.environment["POSTGRES_INITDB_ARGS"].split()
    user = service.environment["POSTGRES_USER"]
    subprocess.run(
        [
            *as_database_user(),
            "initdb",
            "-U",
            user,
            f"--pwfile={secrets}/postgres-password",
            "-D",
            str(data),
            *arguments,
        ],
        env={"PATH": PATH},
        check=True,
        capture_output=True,
    )
    return secrets, data


def as_database_user():
    return ["runuser", "-u", "postgres", "--", "env", f"PATH={PATH}"] if AS_ROOT else []


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.timeout(600)
def test_the_stack(stack, tmp_path):
    secrets, data = set_up(stack)
    password = (secrets / "postgres-password").read_text()
    pgpass = str(secrets / "pgpass")
    sockets = ["-c", f"unix_socket_directories={data}"]

    stack.start("postgres", command=lambda command: [*as_database_user(), *command, *sockets], PGDATA=str(data))
    stack.wait_until_healthy("postgres")
    user, database = stack.variables.get("POSTGRES_USER", "mlflow"), stack.variables.get("POSTGRES_DB", "mlflow")
    at = ["-h", "127.0.0.1", "-p", stack.variables["POSTGRES_PORT"], "-U", user]
    subprocess.run(["createdb", *at, database], env={"PATH": PATH, "PGPASSFILE": pgpass}, check=True)

    stack.start("mlflow", PGPASSFILE=pgpass)
    # As it is in compose: on models.config that setup has made, with nothing in it.
    stack.start("tensorflow-serving", command=local_model_server)
    stack.wait_until_healthy("mlflow")
    stack.wait_until_healthy("tensorflow-serving")

    # The search: a chief and two workers, each with the service's own command.
    for number in (1, 2):
        stack.start("tuner-worker", name=f"worker-{number}", HOSTNAME=f"host{number}")
    chief = stack.start("tuner-chief")
    assert chief.wait(timeout=300) == 0, stack.log("tuner-chief")
    for number in (1, 2):
        assert stack.processes[f"worker-{number}"].wait(timeout=60) == 0, stack.log(f"worker-{number}")

    # From here on as a user does, on the host, with the variables that the docs name.
    variables = process(stack.compose, "client", stack.variables).environment
    environment = {**os.environ, **variables, "PATH": PATH, "CUDA_VISIBLE_DEVICES": "-1"}
    grpc = ["--server", f"127.0.0.1:{stack.variables['GRPC_PORT']}"]

    def zoo(*arguments, status=0):
        done = subprocess.run(
            [*ZOO, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"zoo {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    # The latest run of the recipe: the winner on all training images.
    first = zoo("publish", "digits_cnn", "--json")
    assert (first["version"], first["label"]) == (1, "candidate")
    assert zoo("promote", "digits_cnn", *grpc, "--json")["version"] == 1
    zoo("train", "digits_cnn", *RECIPE.split(), "--set", "seed=7", "--json")
    second = zoo("publish", "digits_cnn", "--json")
    assert second["version"] == 2
    # The winner held no images out: what version 2 is compared with is the figure of the winner's runs that did.
    validation = read_lineage(Path(variables["ZOO_HOME"]) / "models" / "digits_cnn" / "1")["validation"]
    assert 0 < validation["accuracy"] <= 1
    assert validation["run_ids"]
    assert first["run_id"] not in validation["run_ids"]
    promoted = zoo("promote", "digits_cnn", *grpc, "--margin", "100", "--json")
    assert (promoted["version"], promoted["previous"]) == (2, 1)

    seven = str(ROOT / "docs" / "images" / "seven.png")
    (answer,) = zoo("predict", seven, *grpc, "--json")
    assert (answer["version"], answer["run_id"]) == (2, second["run_id"])
    through_proxy(stack, tmp_path, answer)
    # What Prometheus gets where its config says to ask; the proxy does not lead there.
    metrics = httpx.get(f"http://127.0.0.1:{stack.variables['REST_PORT']}/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="digits_cnn",status="OK"}' in metrics

    assert zoo("rollback", "digits_cnn", *grpc, "--json")["version"] == 1
    (answer,) = zoo("predict", seven, *grpc, "--json")
    assert (answer["version"], answer["run_id"]) == (1, first["run_id"])
    found = zoo("releases", "--verify", *grpc, "--json")
    assert [(v["version"], v["label"]) for v in found["versions"]] == [(1, "stable"), (2, "")]
    assert found["repaired"] == []
    assert all(proof["holds"] for proof in found["proofs"])

    # What was recorded is in PostgreSQL, and the password is nowhere but in its two files.
    backup_and_restore(stack, at, database, pgpass)
    assert [(v["version"], v["label"]) for v in zoo("releases", "--json")["versions"]] == [(1, "stable"), (2, "")]
    assert not list(stack.folder.rglob("mlflow.db"))
    for log in stack.folder.glob("*.log"):
        assert password not in log.read_text("utf-8", "replace"), log.name
    shown = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in shown if password in line]


def local_model_server(command):
    """The local server in TensorFlow Serving's place, with the same flags."""
    assert command[0] == "tensorflow_model_server"
    config = f"--monitoring_config_file={ROOT}/serving/config/monitoring.config"
    flags = [config if flag.startswith("--monitoring_config_file") else flag for flag in command[1:]]
    return [sys.executable, "-m", "serving.model_server", *flags]


def backup_and_restore(stack, at, database, pgpass):
    """As docs/operations.md has it, while MLflow is stopped."""

    def run(*command, **options):
        environment = {"PATH": PATH, "PGPASSFILE": pgpass}
        return subprocess.run(command, env=environment, capture_output=True, check=True, **options).stdout

    def counts():
        tables = ("registered_models", "runs", "metrics", "params", "tags")
        asked = [f"(SELECT count(*) FROM {table})" for table in tables]
        return run("psql", *at, "-d", database, "-tAc", f"SELECT {', '.join(asked)}")

    dump = run("pg_dump", *at, "-Fc", database)
    before = counts()
    assert before.startswith(b"1|")
    stack.stop("mlflow")
    run("dropdb", *at, "--force", "--if-exists", database)
    run("createdb", *at, database)
    run("pg_restore", *at, "-d", database, input=dump)
    assert counts() == before
    stack.start("mlflow", PGPASSFILE=pgpass)
    stack.wait_until_healthy("mlflow")


def through_proxy(stack, folder, expected):
    """Ask the stable version over REST through nginx."""
    template = ROOT / "docker" / "proxy" / "default.conf.template"
    service = process(stack.compose, "proxy", stack.variables)
    service.environment["PROXY_ROOT"] = str(ROOT / "docker" / "proxy" / "html")
    command = nginx_command(template, service, folder)
    stack.start("proxy", command=lambda _: command)
    address = f"http://127.0.0.1:{stack.variables['PROXY_PORT']}"
    for _ in range(100):
        try:
            httpx.get(f"{address}/healthz", trust_env=False)
            break
        except httpx.TransportError:
            time.sleep(0.1)
    with connect(address) as client:
        image = (ROOT / "docs" / "images" / "seven.png").read_bytes()
        outputs = client.ask("digits_cnn", {"image_bytes": [image]}, signature="predict_bytes")
    assert outputs.version == expected["version"]
    assert outputs.outputs["probabilities"][0].tolist() == pytest.approx(expected["probabilities"], abs=1e-5)
