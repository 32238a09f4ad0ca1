"""docker-compose.yml, as far as it can be checked without a Docker engine: schema, references, flags."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model_server.flags import Flags, parse_flags
from tests.compose_file import interpolate, interpolated, load, process, variables_of
from tests.compose_reference import faults, server_flags

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
SERVINGS = ["tensorflow-serving", "tensorflow-serving-cpu"]
HERE = {"PWD": "/somewhere"}
# Flags that are ours alone, and one that only older releases of TensorFlow Serving have.
OURS = ("host", "drain_seconds", "max_request_bytes", "log_format")


@pytest.fixture(scope="module")
def original():
    return load(FILE)


@pytest.fixture
def compose(original):
    return copy.deepcopy(original)


def test_the_schema_holds():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_reference_check_finds_nothing(compose):
    assert faults(compose, ROOT) == []


def device(compose):
    return compose["services"]["tensorflow-serving"]["deploy"]["resources"]["reservations"]["devices"][0]


def add(compose, key, value, service="mlflow"):
    compose["services"][service][key].append(value)


def flag(value):
    return lambda c, p: add(c, "command", value, "tensorflow-serving")


def config_of(text):
    """TensorFlow Serving reads monitoring from a file with this text."""

    def plant(compose, folder):
        (folder / "monitoring.config").write_text(text)
        mounts = compose["services"]["tensorflow-serving"]["volumes"]
        next(m for m in mounts if "monitoring" in m["source"])["source"] = str(folder / "monitoring.config")

    return plant


def models_of(text):
    """models.config has this text."""

    def plant(compose, folder):
        (folder / "models.config").write_text(text)
        compose["services"]["tensorflow-serving"]["volumes"][0]["source"] = str(folder)

    return plant


def dockerfile_of(text):
    def plant(compose, folder):
        (folder / "Dockerfile").write_text(text)
        compose["services"]["mlflow"]["build"] = str(folder)

    return plant


FAULTS = {
    "unknown volume": (lambda c, p: add(c, "volumes", "artefacts:/a"), "uses the volume artefacts, which is not"),
    "unused volume": (lambda c, p: c["volumes"].update(old=None), "volumes: old is defined, and no service uses it"),
    "unknown network": (lambda c, p: add(c, "networks", "outside"), "uses the network outside"),
    "unknown secret": (lambda c, p: c["services"]["mlflow"].update(secrets=["key"]), "uses the secret key"),
    "unknown config": (lambda c, p: c["services"]["mlflow"].update(configs=["web"]), "uses the config web"),
    "missing dependency": (lambda c, p: c["services"].pop("postgres"), "mlflow: it depends on postgres, which is no"),
    "dependency of a profile": (
        lambda c, p: c["services"]["proxy"].update(depends_on=["tensorflow-serving-cpu"]),
        "depends on tensorflow-serving-cpu, which is there in profile cpu only",
    ),
    "waiting for health that nobody tells": (
        lambda c, p: c["services"]["postgres"].pop("healthcheck"),
        "waits for postgres to be healthy, which has no healthcheck",
    ),
    "waiting for an end that never comes": (
        lambda c, p: c["services"]["setup"].update(restart="always"),
        "waits for setup to complete, which is always restarted",
    ),
    "no healthcheck": (
        lambda c, p: c["services"]["proxy"].pop("healthcheck"),
        "proxy: it runs on and on without a healthcheck",
    ),
    "missing file": (lambda c, p: add(c, "volumes", "./docker/none:/x:ro"), "mounts ./docker/none, which does not"),
    "missing Dockerfile": (
        lambda c, p: c["services"]["mlflow"].update(build={"dockerfile": "docker/none"}),
        "docker/none, which does not exist",
    ),
    "Dockerfile of a moving image": (dockerfile_of("FROM python:3\n"), "begins with python:3, which is no release"),
    "Dockerfile that copies nothing": (
        dockerfile_of("FROM python:3.12.1\nCOPY nothing /x\n"),
        "copies nothing, which does not exist",
    ),
    "latest": (lambda c, p: c["services"]["proxy"].update(image="nginx:latest"), "'nginx:latest' is no release"),
    "untagged": (lambda c, p: c["services"]["proxy"].update(image="r:5000/nginx"), "'r:5000/nginx' is no release"),
    "every address": (lambda c, p: add(c, "ports", "5001:5001"), "port 5001 is published at every address"),
    "another address": (lambda c, p: add(c, "ports", "0.0.0.0:5001:5001"), "is published at 0.0.0.0, not on loopback"),
    "long port": (lambda c, p: add(c, "ports", {"target": 1, "published": 2}), "port 2 is published at every address"),
    "port twice": (
        lambda c, p: add(c, "ports", "127.0.0.1:8080:8080"),
        "port 8080 is published by",
    ),
    "GPU without capabilities": (lambda c, p: device(c).pop("capabilities"), "lacks the capability gpu"),
    "another capability": (lambda c, p: device(c).update(capabilities=["compute"]), "lacks the capability gpu"),
    "GPU without driver": (lambda c, p: device(c).pop("driver"), "has no driver"),
    "GPU without count": (lambda c, p: device(c).pop("count"), "needs either count or device_ids"),
    "GPU counted twice": (lambda c, p: device(c).update(device_ids=["0"]), "needs either count or device_ids"),
    "no GPU": (lambda c, p: device(c).update(count=0), "count of devices is 0"),
    "unknown flag": (flag("--rest_port=8501"), "tensorflow_model_server has no flag --rest_port"),
    "no flag": (flag("model_name=x"), "tensorflow_model_server has no flag model_name"),
    "no number": (flag("--port=gRPC"), "--port=gRPC is no int32"),
    "too large a number": (flag("--port=4294967296"), "--port=4294967296 is no int32"),
    "no boolean": (flag("--enable_batching=yes"), "--enable_batching=yes is no bool"),
    "no fraction": (flag("--per_process_gpu_memory_fraction=half"), "fraction=half is no float"),
    "no value": (flag("--model_name"), "--model_name needs a value"),
    "monitoring that does not parse": (config_of("prometheus { enable: true }"), "monitoring.config does not parse"),
    "models that do not parse": (models_of("model_config_list { config }"), "models.config does not parse"),
    "config outside the mounts": (
        flag("--monitoring_config_file=/elsewhere/monitoring.config"),
        "--monitoring_config_file=/elsewhere/monitoring.config is in none of the mounts",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(compose, tmp_path, fault):
    plant, says = FAULTS[fault]
    plant(compose, tmp_path)
    found = faults(compose, ROOT)
    assert [sentence for sentence in found if says in sentence], found


def test_serving_runs_on_the_gpu_and_on_the_cpu_by_profile(compose):
    gpu, cpu = (compose["services"][name] for name in SERVINGS)
    assert device(compose) == {"driver": "nvidia", "count": "${SERVING_GPUS:-1}", "capabilities": ["gpu"]}
    assert "profiles" not in gpu
    assert cpu["profiles"] == ["cpu"]
    assert "reservations" not in cpu["deploy"]["resources"]
    assert cpu["networks"]["serving"]["aliases"] == ["tensorflow-serving"]
    assert gpu["deploy"]["replicas"] == "${SERVING_GPU_REPLICAS:-1}"
    assert process(compose, SERVINGS[0], HERE) == process(compose, SERVINGS[1], HERE)


@pytest.mark.parametrize("service", SERVINGS)
def test_serving_flags_are_ones_that_the_local_server_takes_too(compose, service):
    command = process(compose, service, {**HERE, "GRPC_PORT": "1234"}).command
    flags = parse_flags(command[1:])
    assert flags.port == 1234
    assert flags.model_config_file == "/somewhere/artifacts/models/models.config"
    assert flags.model_config_file_poll_wait_seconds == 10
    # models.config has labels, which TensorFlow Serving without this flag refuses at start-up.
    assert flags.allow_version_labels_for_unavailable_models
    assert flags.per_process_gpu_memory_fraction == 0.8


def test_the_local_servers_flags_are_tensorflow_servings():
    kinds = {"int32": int, "int64": int, "float": float, "bool": bool, "string": str}
    known = server_flags()
    mine = {name: type(value) for name, value in vars(Flags()).items() if name not in OURS}
    assert {name: kinds[known.get(name, "bool")] for name in mine} == mine
    assert set(mine) <= set(known)


def test_state_lies_at_the_same_absolute_path_inside_and_out(compose):
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            if isinstance(mount, dict) and "ZOO_HOME" in mount["source"] and mount["target"] != "/run/called-with":
                assert mount["source"] == mount["target"]
                if name in SERVINGS:
                    assert mount["read_only"]
    models = [mount["source"] for mount in compose["services"]["tensorflow-serving"]["volumes"]]
    assert interpolate(models[0], HERE) == "/somewhere/artifacts/models"


def test_a_call_elsewhere_than_in_the_clone_starts_nothing(compose, tmp_path):
    assert f"setup: it mounts {tmp_path}/docker-compose.yml, which does not exist." in faults(
        compose, ROOT, {"PWD": str(tmp_path)}
    )
    assert faults(compose, ROOT, {"PWD": str(tmp_path), "ZOO_HOME": str(tmp_path)}) == []


def test_mistyped_files_are_not_made_as_folders(compose):
    given = {"POSTGRES_PASSWORD_FILE": "/no/such/password", "POSTGRES_CA_FILE": "/no/such/ca"}
    assert faults(compose, ROOT, given) == [
        "setup: it mounts /no/such/password, which does not exist.",
        "mlflow: it mounts /no/such/ca, which does not exist.",
    ]


def test_the_chief_listens_where_its_workers_elsewhere_need_not_look(compose):
    given = {**HERE, "CHIEF_HOST": "chief.example.org"}
    listens, asks = (process(compose, name, given).environment for name in ("tuner-chief", "tuner-worker"))
    assert (listens["KERASTUNER_ORACLE_IP"], asks["KERASTUNER_ORACLE_IP"]) == ("0.0.0.0", "chief.example.org")
    assert listens["KERASTUNER_ORACLE_PORT"] == asks["KERASTUNER_ORACLE_PORT"]
    assert compose["services"]["tuner-chief"]["restart"] == "on-failure:5"


def test_all_that_loads_data_has_the_folder_of_data(compose):
    for name in ("tuner-chief", "tuner-worker", "client"):
        given = {**HERE, "ZOO_DATA_DIR": "/data"}
        service = interpolated(compose["services"][name], given)
        assert process(compose, name, given).environment["ZOO_DATA_DIR"] == "/data"
        assert "/data" in [mount["target"] for mount in service["volumes"]], name


def test_mlflow_answers_to_its_own_names(compose):
    command = process(compose, "mlflow", {**HERE, "MLFLOW_PORT": "1", "MLFLOW_MORE_HOSTS": "m.example.org"}).command
    (hosts,) = (word.partition("=")[2] for word in command if word.startswith("--allowed-hosts="))
    assert hosts == "mlflow,mlflow:1,localhost,localhost:1,127.0.0.1,127.0.0.1:1,m.example.org"


def test_nothing_has_powers_that_it_does_not_need(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert "privileged" not in service, name
        assert service["logging"]["options"]["max-size"], name
        if name != "setup":
            assert not interpolate(service["user"], HERE).startswith("0:"), name
            assert "cap_add" not in service, name
            assert service.get("restart") == "no" or service["deploy"]["resources"]["limits"]["memory"], name
    on_database = [name for name, s in compose["services"].items() if "database" in s.get("networks", [])]
    assert sorted(on_database) == ["mlflow", "postgres"]
    assert compose["networks"]["database"] == {"internal": True}
    assert "ports" not in compose["services"]["postgres"]


def test_every_published_port_has_its_reason_beside_it(original):
    published = [line for line in FILE.read_text("utf-8").splitlines() if re.match(r'\s+- "?[\d.]+:\$', line)]
    # Both forms of TensorFlow Serving have theirs from one place.
    assert len(published) == sum(len(s.get("ports", [])) for s in original["services"].values()) - 2
    for line in published:
        assert re.search(r"  # \S+.{15,}", line), line


def test_a_port_is_the_same_inside_and_out(compose):
    for service in compose["services"].values():
        for port in service.get("ports", []):
            _, outside, inside = interpolate(port, HERE).split(":")
            assert outside == inside


def test_the_example_of_variables_is_the_files_own_list(original):
    listed = dict(re.findall(r"^#?([A-Z0-9_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    assert listed.pop("COMPOSE_PROFILES") == ""  # Compose's own
    named = variables_of(original)
    assert named.pop("PWD") == {None}
    named["ZOO_HOME"].remove("${PWD}/docker-compose.yml")  # no default, but what has to be there without one
    # `${A:+…${A}}` names a variable once more, behind its default.
    assert {name: defaults - {None} for name, defaults in named.items()} == {name: {listed[name]} for name in listed}


def test_the_images_that_are_built_here_are_named_by_their_versions(original):
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    mlflow = re.search(r"^mlflow==(\S+)", lock, re.MULTILINE).group(1)
    ours = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE).group(1)
    images = {name: interpolate(service["image"], HERE) for name, service in original["services"].items()}
    assert images["mlflow"] == f"conv-zoo-mlflow:{mlflow}"
    assert {images[name] for name in ("tuner-chief", "tuner-worker", "client")} == {f"conv-zoo:{ours}"}


@pytest.mark.parametrize("name", ["mlflow", "zoo"])
def test_what_an_image_copies_is_handed_to_its_build(name):
    kept = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text("utf-8")
    copied = [path for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for path in line.split()]
    assert copied
    assert [path for path in copied if f"!{path}" not in kept] == []
    # And nothing else: the folder has a user's settings, data and models, too.
    assert kept[1] == "*"
