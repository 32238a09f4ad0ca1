"""TensorFlow without its start-up chatter."""

import contextlib
import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow, keeping from the terminal what its C++ parts print on the way.

    They write to the process's standard error before any log level applies (a machine without a GPU gets six lines
    about it). What they wrote is shown after all when the import fails; TF_CPP_MIN_LOG_LEVEL=0 shows everything.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or "tensorflow" in sys.modules:
        import tensorflow  # noqa: F401

        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught, contextlib.ExitStack() as undo:
        terminal = os.dup(2)
        undo.callback(os.close, terminal)
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # looking for a GPU is what is reported, also when it is first done here
        except BaseException:
            caught.seek(0)
            os.write(terminal, caught.read())
            raise
        finally:
            os.dup2(terminal, 2)
    # It warns of retracing whenever a process builds several networks, as a search does by nature.
    tf.get_logger().setLevel("ERROR")
