"""The command `zoo`. Each module holds a group of commands; heavy imports happen inside the commands."""

import os
import sys

import typer

from pipelines.cli import (
    catalogue,
    compare,
    doctor,
    draw,
    ensemble,
    evaluate,
    quickstart,
    release,
    releases,
    reproduce,
    results,
    serve,
    train,
    tune,
    ui,
)
from pipelines.cli.console import fail
from pipelines.errors import PipelineError
from pipelines.interruption import listen
from pipelines.passwords import on_one_line
from serving.errors import ServingError

INTERRUPTED = 130  # as shells have it: 128 + SIGINT

app = typer.Typer(
    name="zoo",
    help="The classic convolutional networks: train, track, tune, publish, serve, ask.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for module in (
    quickstart,
    catalogue,
    draw,
    train,
    evaluate,
    ensemble,
    tune,
    reproduce,
    results,
    release,
    releases,
    compare,
    serve,
    ui,
    doctor,
):
    module.register(app)


def main() -> None:
    """Run the command line. What the user can mend ends in one sentence and status 1 or 2, never in a traceback."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    listen()
    try:
        app()
    except PipelineError as error:
        fail(str(error), error.status)
    except (ServingError, OSError) as error:
        fail(str(error), 1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer turns Ctrl-C into this, without a word
            fail("Interrupted.", INTERRUPTED)
        raise
    except Exception as error:
        if _is(error, "zoo.spec", "ZooError"):
            fail(str(error), 2)
        if _is(error, "mlflow.exceptions", "MlflowException"):
            fail(f"MLflow's store does not do as asked: {on_one_line(str(error), 400)}", 1)
        raise


def _is(error: Exception, module: str, name: str) -> bool:
    """Whether the error is of a class in a heavy module, asked without importing that."""
    return module in sys.modules and isinstance(error, getattr(sys.modules[module], name))
