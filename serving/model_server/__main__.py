"""`python -m serving.model_server --port=... --rest_api_port=... --model_config_file=...`"""

import importlib.metadata
import signal
import sys

from serving.errors import ServingError
from serving.model_server import logs
from serving.model_server.flags import FlagError, ignored_flags, parse_flags, usage

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def block_stop_signals() -> None:
    """Leave SIGTERM and SIGINT to the thread that waits for them.

    This has to be the first thing: libraries start threads as they are imported (NumPy's arithmetic, gRPC, TensorFlow),
    which inherit it, and a signal goes to any thread that does not block it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def main(arguments: list[str]) -> int:
    """Runs the server; returns the exit status: 0 stopped as asked, 1 could not start, 2 wrong flags."""
    if "--help" in arguments:
        print(usage())
        return 0
    try:
        flags = parse_flags(arguments)
    except FlagError as error:
        print(error, file=sys.stderr)
        return 2
    if flags.version:
        print(f"TensorFlow ModelServer: conv-zoo {importlib.metadata.version('conv-zoo')}")
        print(f"TensorFlow Library: {importlib.metadata.version('tensorflow')}")
        return 0
    logs.set_up(flags.log_format)
    block_stop_signals()
    try:
        from serving.model_server.server import run

        return run(flags, ignored_flags(arguments), STOP_SIGNALS)
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
