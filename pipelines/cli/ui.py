"""`zoo ui` and `zoo sync`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from pipelines.cli.console import err, out
from pipelines.errors import PipelineError
from pipelines.passwords import without_passwords


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ui)
    app.command()(sync)


def ui(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|RECIPE|DATASET]", help="What to show; by default the runs beside the newest one."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    open_browser: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open", help="Open a browser; by default in a terminal where there is a graphical one."
        ),
    ] = None,
) -> None:
    """Open MLflow's UI on this project's runs: on a run, a search's trials, or the runs of a recipe or a dataset.

    Ctrl-C ends it.
    """
    from serving.ports import is_free

    opens = _has_browser() if open_browser is None else open_browser
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    remote = uri.startswith(("http://", "https://"))
    if not remote and not is_free(host, port):
        raise PipelineError(f"Port {port} of {host} is taken; choose another with --port.")
    from pipelines.tracking import connect, tracking_uri
    from pipelines.views import view_of

    connect()  # initialises a store that is not there yet, under its lock
    view = view_of(what)
    if remote:
        address = f"{uri.rstrip('/')}/{view}"
        shown = without_passwords(address)
        out.print(f"The runs are on a tracking server with a UI of its own: {shown}", markup=False)
        if opens:
            _open(address)
        return
    server_address = _address(host, port)
    address = f"{server_address}/{view}"
    store = without_passwords(tracking_uri())
    out.print(f"MLflow's UI on {store}: {address}  (Ctrl-C ends it)", markup=False)
    sys.exit(_serve(host, port, server_address, address if opens else None))


def _address(host: str, port: int) -> str:
    """Where a browser of this machine finds a server that listens at `host`; what stands for all addresses is none."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _serve(host: str, port: int, server_address: str, page: str | None) -> int:
    """Run MLflow's server until it ends, by itself or by Ctrl-C; its exit status. `page` is opened when it answers.

    However this ends, the server has ended.
    """
    from pipelines.home import home
    from pipelines.tracking import tracking_uri

    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    command += ["--artifacts-destination", str(home() / "mlruns")]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    # Without its job runner, which nothing here needs, the server takes 0.5 GB rather than 1.3.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # A session of its own, so that the server's workers can be ended with it, however this command is ended.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        if page and _answers(server_address, server):
            _open(page)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def _answers(address: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until the server answers; False where it ends before."""
    import httpx

    while server.poll() is None:
        try:
            if httpx.get(f"{address}/health", trust_env=False).status_code == httpx.codes.OK:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def _has_browser() -> bool:
    """Whether somebody sits at a terminal of a machine with a browser that does not take the terminal itself."""
    with_windows = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return sys.stdout.isatty() and (with_windows or bool(os.environ.get("BROWSER")))


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        err.print("[dim]no browser could be opened; the address above is the page[/dim]")


def sync() -> None:
    """Send the tracking server what runs recorded while it was away (the next run does so too)."""
    from pipelines.tracking import connect, deliver_waiting, tracking_uri, waiting

    if not waiting():
        out.print("Nothing waits to be sent.")
        return
    with err.status("[dim]sending[/dim]"):
        from serving.quiet import import_tensorflow

        import_tensorflow()
        delivery = deliver_waiting(connect())
    for run_id in delivery.complete:
        out.print(f"run {run_id} is complete")
    for run_id, reason in delivery.refused.items():
        err.print(f"run {run_id} is not taken: {reason}", markup=False)
    left = len(waiting())
    if left:
        runs = "1 run waits" if left == 1 else f"{left} runs wait"
        why = "does not take all" if delivery.refused else "does not answer; nothing is lost, try again when it does"
        raise PipelineError(f"{runs} to be sent to {tracking_uri()}, which {why}.")
