"""Which part a process has in a search over several machines, by its options and Keras Tuner's variables."""

import os
import socket
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import UsageError

Role = Literal["chief", "worker"]
ID, HOST, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"


@dataclass(frozen=True)
class Place:
    """What a process is in a search; `role` is None where the search is of one machine."""

    role: Role | None = None
    host: str = ""
    port: int = 0
    """Of the chief."""
    worker: str = ""
    """The worker's id, its own among all workers; a worker that is started again under its id has its trial again."""


def find_role(role: Role | None, address: str | None, worker: str | None) -> Place:
    """The options count before the variables. As in Keras Tuner, whose id contains `chief` is the chief.

    Raises UsageError for half an address.
    """
    named = worker or os.environ.get(ID, "")
    host, port = os.environ.get(HOST, ""), os.environ.get(PORT, "")
    if address is not None:
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
    if role is None and not (address or (host and named)):
        return Place()
    role = role or ("chief" if "chief" in named else "worker")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        given = address if address is not None else f"{host}:{port}".strip(":")
        raise UsageError(
            f"The {role} needs the chief's address, received '{given}'; give --chief HOST:PORT, as in "
            f"--chief 10.0.0.5:8700, or set {HOST} and {PORT}."
        )
    if role == "worker" and "chief" in named:
        raise UsageError(f"A worker's id does not contain 'chief', received '{named}': to Keras Tuner it would be one.")
    return Place(role, host, int(port), named or f"{socket.gethostname()}-{os.getpid()}")
