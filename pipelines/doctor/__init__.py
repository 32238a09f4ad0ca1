"""`zoo doctor`: what is well with this machine, and what to do about the rest. Nothing is changed or downloaded."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pipelines.doctor import installation, ports, served, storage, tracking
from pipelines.doctor.finding import Finding, Level
from pipelines.errors import reason_of
from pipelines.passwords import on_one_line

__all__ = ["Finding", "Level", "examine"]

Check = Callable[[], Finding | list[Finding]]


def examine(server: str) -> list[Finding]:
    """All findings, in the order of a report; `server` is the model server's HOST:PORT, or its REST port's URL."""
    checks: dict[str, Check] = {
        "Python": installation.python,
        "packages": installation.packages,
        "TensorFlow": installation.tensorflow,
        "Docker": installation.docker,
        "gRPC port": ports.grpc_port,
        "REST port": ports.rest_port,
        "MLflow's port": ports.ui_port,
        "proxy's port": ports.proxy_port,
        "Prometheus's port": ports.prometheus_port,
        "home": storage.disk,
        "tracking": tracking.store,
        "unsent runs": tracking.unsent,
        "datasets": storage.datasets,
        "model repository": served.repository,
        "model server": lambda: served.readiness(server),
    }
    with ThreadPoolExecutor() as beside:
        # These wait for other processes, TensorFlow's import for seconds; meanwhile the rest is looked at.
        slow = {name: beside.submit(_findings, name, checks[name]) for name in ("TensorFlow", "Docker")}
        quick = {name: _findings(name, check) for name, check in checks.items() if name not in slow}
        found = {name: slow[name].result() if name in slow else quick[name] for name in checks}
    return [finding for part in found.values() for finding in part]


def _findings(name: str, check: Check) -> list[Finding]:
    """What a check finds; that it breaks down is a finding too, and spoils no other."""
    try:
        found = check()
    except Exception as error:  # noqa: BLE001 - the doctor is asked when something is broken, whatever that is
        reason = on_one_line(reason_of(error))
        return [Finding(name, "problem", f"cannot be looked at: {reason}", "Mend what the reason names.")]
    return found if isinstance(found, list) else [found]
