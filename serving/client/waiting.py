"""Waiting for a server to have loaded a version."""

import time
from collections.abc import Callable

from serving.client.interface import Client, VersionStatus
from serving.errors import ServingError


def wait_until_available(
    client: Client, model: str, version: int, seconds: float, is_alive: Callable[[], bool] = lambda: True
) -> None:
    """Return once the server has a version AVAILABLE.

    Raises ServingError if it cannot load it, does not within `seconds`, or is not alive any more.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not is_alive():
            raise ServingError("The model server has ended.")
        found = _status(client, model, version)
        if found and found.error:
            raise ServingError(f"{client.address} cannot load {model} version {version}: {found.error.rstrip('.')}.")
        if found and found.state == "AVAILABLE":
            return
        time.sleep(0.05)
    raise ServingError(f"{client.address} did not serve {model} version {version} within {seconds:g} s.")


def _status(client: Client, model: str, version: int) -> VersionStatus | None:
    """A version's status; None while the server is not listening yet or does not know the model yet."""
    try:
        return next((found for found in client.status(model) if found.version == version), None)
    except ServingError:
        return None
