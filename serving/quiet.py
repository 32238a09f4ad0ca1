"""TensorFlow without its start-up chatter, and without what only training needs."""

import contextlib
import os
import sys
import tempfile
from typing import IO


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
    with _buffer() as caught, contextlib.ExitStack() as undo:
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


def make_tensorflow_lean() -> None:
    """Have this process's TensorFlow come without Keras and JAX: half the time to import it, two thirds of the memory.

    For a process of which nobody else is part, before TensorFlow is imported; running SavedModels needs neither. Then
    importing it writes nothing either, and works where nothing can be written.
    """
    for name in ("keras", "jax"):
        if "tensorflow" not in sys.modules:
            # Python's own way to say that there is no such module.
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    # TensorFlow has an old Keras inside, which would write keras.json, and the tests' helpers of absl, which look for a
    # folder for temporary files by writing one. What is no folder stops both.
    for variable in ("KERAS_HOME", "TEST_TMPDIR"):
        os.environ.setdefault(variable, os.devnull)


def _buffer() -> IO[bytes]:
    """A file that lies in memory, where the system has such: a server may run where nothing can be written."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("chatter"), "w+b")
    return tempfile.TemporaryFile()
