"""`zoo ui` and `zoo sync`."""

import os
import signal
import subprocess
import sys
from typing import Annotated

import typer

from pipelines.cli.console import err, out
from pipelines.errors import PipelineError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(ui)
    app.command()(sync)


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the UI.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
) -> None:
    """Open MLflow's UI on this project's runs (Ctrl-C ends it)."""
    from serving.ports import is_free

    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith(("http://", "https://")):
        out.print(f"The runs are on a tracking server with a UI of its own: {uri}")
        return
    if not is_free(host, port):
        raise PipelineError(f"Port {port} of {host} is taken; choose another with --port.")
    from pipelines.home import home
    from pipelines.tracking import connect, tracking_uri

    connect()  # initialises a store that is not there yet, under its lock
    out.print(f"MLflow's UI on {tracking_uri()}: [bold]http://{host}:{port}[/bold]  (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri()]
    command += [
        "--artifacts-destination",
        str(home() / "mlruns"),
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    # Without its job runner, which nothing here needs, the server takes 0.5 GB rather than 1.3.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # A session of its own, so that the server's workers can be ended with it, however this command is ended.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        sys.exit(server.wait())
    except KeyboardInterrupt:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


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
