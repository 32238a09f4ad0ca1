"""Does the tracking store take what runs record?"""

from pathlib import Path
from urllib.parse import urlsplit

from pipelines.doctor.finding import Finding
from pipelines.doctor.ports import SECONDS
from pipelines.errors import reason_of

REFUSED_HOST = "Invalid Host header"
"""MLflow's words for a host that is not among its --allowed-hosts."""


def store() -> Finding:
    """Whether the tracking store takes a real call: a server tells every host that it is well, and not every host more.

    A SQLite file that is not there yet is not made.
    """
    from mlflow.exceptions import MlflowException

    from pipelines.tracking import connect, tracking_uri

    uri = tracking_uri()
    shown = without_password(uri)
    if uri.startswith(("http://", "https://")) and not _answers(uri):
        advice = "Start the server, put MLFLOW_TRACKING_URI right, or unset it: runs then go to a SQLite file."
        return Finding("tracking", "problem", f"no server answers at {shown}", advice)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return Finding("tracking", "ok", f"{shown}, made by the first run")
    try:
        connect().search_experiments(max_results=1)
    except MlflowException as error:
        if REFUSED_HOST in str(error):
            entry = host_header(uri)
            found = f"{shown} is well and refuses all requests: its --allowed-hosts lack {entry}"
            advice = f"Add {entry} to --allowed-hosts of mlflow server, just so: names are compared with their port."
            return Finding("tracking", "problem", found, advice)
        return Finding("tracking", "problem", f"{shown} refuses: {_one_line(error)}", "Do as MLflow says.")
    except Exception as error:  # noqa: BLE001 - a damaged database surfaces as its driver's own error
        advice = "Put back a copy of the database, or move it away: the next run begins a new one."
        return Finding("tracking", "problem", f"{shown} does not open: {_one_line(error)}", advice)
    return Finding("tracking", "ok", shown)


def _answers(uri: str) -> bool:
    """Whether anything is there; what it is and whether it is willing, a real call tells."""
    import httpx

    try:
        httpx.get(f"{uri.rstrip('/')}/health", timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return True


def unsent() -> Finding:
    """Runs whose records the tracking store has not got yet."""
    from pipelines.tracking import waiting

    count = len(waiting())
    if not count:
        return Finding("unsent runs", "ok", "none")
    found = "1 run waits to be sent" if count == 1 else f"{count} runs wait to be sent"
    return Finding("unsent runs", "note", f"{found} to the tracking store", "zoo sync sends them.")


def host_header(url: str) -> str:
    """What a client of `url` sends as Host: with the port, unless that is the scheme's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def without_password(uri: str) -> str:
    """A store's address as it may be shown."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":…@", 1) if password else uri


def _one_line(error: Exception) -> str:
    return " ".join(reason_of(error).split())[:300]
