"""The reference check of a compose file: what its schema cannot see. Each fault is one sentence."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.config_protos import BatchingParameters, MonitoringConfig, SSLConfig
from serving.protos import model_server_config_pb2
from tests.compose_file import interpolated

SERVER = "tensorflow_model_server"
FLAG_LIST = Path(__file__).parent / "tensorflow_model_server_flags.txt"
LOOPBACK = ("127.0.0.1", "::1")
_PARSERS: dict[str, Callable[[str], Any]] = {
    "model_config_file": lambda text: text_format.Parse(text, model_server_config_pb2.ModelServerConfig()),
    "monitoring_config_file": lambda text: text_format.Parse(text, MonitoringConfig()),
    "batching_parameters_file": lambda text: text_format.Parse(text, BatchingParameters()),
    "ssl_config_file": lambda text: text_format.Parse(text, SSLConfig()),
}
_VALUES: dict[str, Callable[[str], bool]] = {
    "bool": lambda text: text.lower() in ("true", "false", "1", "0"),
    "int32": lambda text: bool(re.fullmatch(r"-?\d+", text)) and -(2**31) <= int(text) < 2**31,
    "int64": lambda text: bool(re.fullmatch(r"-?\d+", text)) and -(2**63) <= int(text) < 2**63,
    "float": lambda text: bool(re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", text)),
    "string": lambda text: True,
}


def faults(compose: Mapping[str, Any], root: Path, variables: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with a compose file of the folder `root`, its `variables` put in; empty where nothing is."""
    given = {"PWD": str(root), **(variables or {})}
    resolved = interpolated(compose, given)
    services = resolved["services"]
    found = [*_unused(resolved), *_twice(services)]
    for name, service in services.items():
        for check in (_dependencies, _references, _binds, _build, _image, _ports, _health, _devices, _flags):
            found += [f"{name}: {fault}" for fault in check(service, resolved, root)]
    return found


def server_flags() -> dict[str, str]:
    """The flags of tensorflow_model_server: type by name."""
    lines = FLAG_LIST.read_text("utf-8").splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def command_of(service: Mapping[str, Any]) -> list[str]:
    """Entrypoint and command, both lists."""
    parts = (service.get("entrypoint") or [], service.get("command") or [])
    return [word for part in parts if isinstance(part, list) for word in part]


def _dependencies(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    wanted = service.get("depends_on") or {}
    wanted = wanted if isinstance(wanted, Mapping) else {name: {} for name in wanted}
    for name, how in wanted.items():
        other = compose["services"].get(name)
        if other is None:
            yield f"it depends on {name}, which is no service."
            continue
        profiles, others = set(service.get("profiles") or []), set(other.get("profiles") or [])
        if others and not (profiles and profiles <= others):
            yield f"it depends on {name}, which is there in profile {', '.join(sorted(others))} only."
        condition = how.get("condition", "service_started")
        if condition == "service_healthy" and not other.get("healthcheck"):
            yield f"it waits for {name} to be healthy, which has no healthcheck."
        if condition == "service_completed_successfully" and other.get("restart", "no") not in ("no", "on-failure"):
            yield f"it waits for {name} to complete, which is always restarted."


def _references(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    for kind, one in (("volumes", "volume"), ("networks", "network"), ("secrets", "secret"), ("configs", "config")):
        for name in _named(service, kind):
            if name not in (compose.get(kind) or {}) and (kind, name) != ("networks", "default"):
                yield f"it uses the {one} {name}, which is not defined."


def _unused(compose: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("volumes", "networks", "secrets", "configs"):
        used = {name for service in compose["services"].values() for name in _named(service, kind)}
        for name in compose.get(kind) or {}:
            if name not in used:
                yield f"{kind}: {name} is defined, and no service uses it."


def _named(service: Mapping[str, Any], kind: str) -> list[str]:
    if kind != "volumes":
        return [entry["source"] if isinstance(entry, Mapping) else entry for entry in service.get(kind) or []]
    mounts = _mounts(service)
    return [mount["source"] for mount in mounts if mount["type"] == "volume"]


def _mounts(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All mounts in their long form."""
    found = []
    for mount in service.get("volumes") or []:
        if isinstance(mount, str):
            source, target, *mode = mount.split(":")
            kind = "bind" if source.startswith((".", "/", "~")) else "volume"
            mount = {"type": kind, "source": source, "target": target, "read_only": "ro" in mode}
        found.append(dict(mount))
    return found


def _binds(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    for mount in _mounts(service):
        made = (mount.get("bind") or {}).get("create_host_path", False)
        if mount["type"] == "bind" and not made and not (root / mount["source"]).exists():
            yield f"it mounts {mount['source']}, which does not exist."


def _build(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    build = service.get("build")
    if build is None:
        return
    context = root / (build if isinstance(build, str) else build.get("context", "."))
    file = context / ("Dockerfile" if isinstance(build, str) else build.get("dockerfile", "Dockerfile"))
    if not file.is_file():
        yield f"it is built from {file}, which does not exist."
        return
    for image in re.findall(r"^FROM\s+(?:--\S+\s+)?(\S+)", file.read_text("utf-8"), re.MULTILINE):
        if not _is_pinned(image):
            yield f"{file.name} begins with {image}, which is no release."
    for source in re.findall(r"^COPY\s+(.+)\s+\S+$", file.read_text("utf-8"), re.MULTILINE):
        for path in source.split():
            if not (context / path).exists():
                yield f"{file.name} copies {path}, which does not exist."


def _image(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    image = service.get("image", "")
    if not _is_pinned(image):
        yield f"its image '{image}' is no release; give a tag with a version."


def _is_pinned(image: str) -> bool:
    """Whether an image has a digest, or a tag with a version of at least two parts."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@sha256:" in image or bool(re.match(r"v?\d+\.\d+", tag))


def _published(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Address and port on the host of each published port; the address is empty where all are meant."""
    for port in service.get("ports") or []:
        if isinstance(port, Mapping):
            yield port.get("host_ip", ""), str(port.get("published", ""))
        else:
            address, _, rest = str(port).rpartition(":")[0].rpartition(":")
            yield address.strip("[]"), rest


def _ports(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    for address, port in _published(service):
        if address not in LOOPBACK:
            yield f"port {port or 'of any number'} is published at {address or 'every address'}, not on loopback."


def _twice(services: Mapping[str, Any]) -> Iterator[str]:
    always = [name for name, service in services.items() if not service.get("profiles")]
    seen: dict[str, str] = {}
    for name in always:
        for _, port in _published(services[name]):
            if port in seen:
                yield f"{name}: port {port} is published by {seen[port]}, too."
            seen[port] = name


def _health(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    runs_on = service.get("restart", "no") in ("always", "unless-stopped")
    if runs_on and not (service.get("healthcheck") or {}).get("test"):
        yield "it runs on and on without a healthcheck."


def _devices(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    resources = (service.get("deploy") or {}).get("resources") or {}
    for device in (resources.get("reservations") or {}).get("devices") or []:
        if not device.get("driver"):
            yield "its device has no driver; GPUs have nvidia."
        if "gpu" not in (device.get("capabilities") or []):
            yield "its device lacks the capability gpu, without which Docker reserves none."
        if ("count" in device) == ("device_ids" in device):
            yield "its device needs either count or device_ids."
        elif "count" in device and not re.fullmatch(r"all|[1-9]\d*", str(device["count"])):
            yield f"its count of devices is {device['count']}; give a number from 1 on, or all."


def _flags(service: Mapping[str, Any], compose: Mapping[str, Any], root: Path) -> Iterator[str]:
    command = command_of(service)
    if not command or command[0].rpartition("/")[2] != SERVER:
        return
    known = server_flags()
    for flag in command[1:]:
        name, equals, value = flag.removeprefix("--").partition("=")
        if not flag.startswith("--") or name not in known:
            yield f"{SERVER} has no flag {flag.partition('=')[0]}."
        elif not equals and known[name] != "bool":
            yield f"--{name} needs a value."
        elif not _VALUES[known[name]](value or "true"):
            yield f"--{name}={value} is no {known[name]}."
        elif name in _PARSERS:
            yield from _config(name, value, service, root)


def _config(flag: str, path: str, service: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Parse the file that the flag names, found on this side of the mounts."""
    for mount in _mounts(service):
        target = mount["target"]
        if mount["type"] != "bind" or not (path == target or path.startswith(f"{target}/")):
            continue
        file = root / (mount["source"] + path.removeprefix(target))
        if file.is_file():
            try:
                _PARSERS[flag](file.read_text("utf-8"))
            except (text_format.ParseError, UnicodeDecodeError) as error:
                yield f"--{flag}={path} does not parse: {error}"
        elif not (mount.get("bind") or {}).get("create_host_path", False):
            yield f"--{flag}={path} does not exist."
        return
    yield f"--{flag}={path} is in none of the mounts."
