"""Ending at Ctrl-C, SIGTERM or SIGHUP, also where the exception is lost on its way.

Python raises KeyboardInterrupt wherever the main thread happens to be, and what is raised in a finalizer or in a
library's callback is printed or swallowed there. The wish is therefore remembered, and long work asks for it.
"""

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """From now on each of the three signals raises KeyboardInterrupt in the main thread, and is remembered."""
    global _asked
    _asked = False
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise KeyboardInterrupt if the end was asked for and has not come yet."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
