"""Does the tracking store take what runs record?"""

import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.doctor.finding import Finding
from pipelines.doctor.ports import SECONDS
from pipelines.errors import reason_of
from pipelines.journal import journals
from pipelines.passwords import on_one_line, without_passwords

STORE_SECONDS = 30.0  # MLflow tries a database that does not answer for minutes
REFUSED_HOST = "Invalid Host header"
"""MLflow's words for a host that is not among its --allowed-hosts."""
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""The usual port by the scheme's first part."""


def store() -> Finding:
    """Whether the tracking store takes a real call: a server tells every host that it is well, and not every host more.

    A SQLite file that is not there yet is not made.
    """
    from mlflow.exceptions import MlflowException

    from pipelines.tracking import connect, tracking_uri

    uri = tracking_uri()
    shown = without_passwords(uri)
    if not _answers(uri):
        advice = "Start the server, put MLFLOW_TRACKING_URI right, or unset it: runs then go to a SQLite file."
        return Finding("tracking", "problem", f"no server answers at {shown}", advice)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return Finding("tracking", "ok", f"{shown}, made by the first run")
    try:
        _within(STORE_SECONDS, lambda: connect().search_experiments(max_results=1))
    except TimeoutError:
        advice = "Look whether it is what MLFLOW_TRACKING_URI should name, and what its log says."
        return Finding("tracking", "problem", f"{shown} does not answer within {STORE_SECONDS:g} s", advice)
    except ImportError as error:
        advice = "Install that driver, or name another, as in postgresql+psycopg2://; a server's http:// needs none."
        return Finding("tracking", "problem", f"{shown} needs what is not installed: {_one_line(error)}", advice)
    except MlflowException as error:
        if REFUSED_HOST in str(error):
            entry = host_header(uri)
            found = f"{shown} is well and refuses all requests: its --allowed-hosts lack {entry}"
            advice = (
                f"For docker compose put MLFLOW_MORE_HOSTS={entry} into .env, else add {entry} to --allowed-hosts of "
                "mlflow server; just so: names are compared with their port."
            )
            return Finding("tracking", "problem", found, advice)
        return Finding("tracking", "problem", f"{shown} refuses: {_one_line(error)}", "Do as MLflow says.")
    except Exception as error:  # noqa: BLE001 - a damaged database surfaces as its driver's own error
        advice = "Put back a copy of the database, or move it away: the next run begins a new one."
        return Finding("tracking", "problem", f"{shown} does not open: {_one_line(error)}", advice)
    return Finding("tracking", "ok", shown)


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Raise what the call raises, or TimeoutError where it takes longer; it is then left behind."""
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 - it is raised by who waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="tracking store", daemon=True).start()
    outcome.result(timeout=seconds)


def _answers(uri: str) -> bool:
    """Whether anything is there; what it is and whether it is willing, a real call tells. A file is."""
    import httpx

    if not uri.startswith(("http://", "https://")):
        return _listens(uri)
    try:
        httpx.get(f"{uri.rstrip('/')}/health", timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


def _listens(uri: str) -> bool:
    """Whether somebody listens at a database's address, for whom its driver would wait minutes; True where the address
    names none."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or DATABASES.get(parts.scheme.partition("+")[0])
    except ValueError:  # the call itself says what is wrong with it
        return True
    if not host or not port:
        return True
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError:
        return False
    return True


def unsent() -> list[Finding]:
    """Runs whose records the tracking store has not got yet, or another one, or this one by another name."""
    from pipelines.tracking import tracking_uri, waiting

    count, here, name = len(waiting()), tracking_uri(), "unsent runs"
    findings = [Finding(name, "note", f"{_wait(count)} to the tracking store", "zoo sync sends them.")] if count else []
    for uri, count in _waiting_elsewhere(here).items():
        shown = without_passwords(uri)
        found = f"{_wait(count)} to {shown}, and the tracking store is {without_passwords(here)}"
        inside = "; what containers recorded, docker compose run --rm client zoo sync" if "://mlflow:" in uri else ""
        findings.append(Finding(name, "note", found, f"MLFLOW_TRACKING_URI={shown} zoo sync sends them{inside}."))
    return findings or [Finding(name, "ok", "none")]


def _wait(count: int) -> str:
    return "1 run waits to be sent" if count == 1 else f"{count} runs wait to be sent"


def _waiting_elsewhere(here: str) -> Counter[str]:
    """How many runs wait for other stores than this one, by the store, unless a process is at work on them."""
    found: Counter[str] = Counter()
    for journal in journals():
        if journal.facts["uri"] != here and journal.unsent() and journal.hold():
            journal.release()
            found[journal.facts["uri"]] += 1
    return found


def host_header(url: str) -> str:
    """What a client of `url` sends as Host: with the port, unless that is the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def _one_line(error: Exception) -> str:
    return on_one_line(reason_of(error))
