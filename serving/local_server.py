"""The local model server as a child process that does not outlive its parent's block."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.client import Client, VersionStatus, connect
from serving.errors import ServingError
from serving.ports import free_ports


@dataclass(frozen=True)
class LocalServer:
    """Where a running server answers."""

    grpc_address: str
    """HOST:PORT"""
    rest_address: str
    """http://HOST:PORT"""
    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_for(self, model: str, version: int, seconds: float = 60.0) -> None:
        """Return once a version is served. Raises ServingError if it cannot be, or is not in time."""
        deadline = time.monotonic() + seconds
        with connect(self.grpc_address, timeout=5.0) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise self._failed(f"The model server ended with status {self.process.returncode}.")
                found = _status(client, model, version)
                if found and found.error:
                    raise self._failed(f"The model server cannot load {model} version {version}: {found.error}.")
                if found and found.state == "AVAILABLE":
                    return
                time.sleep(0.05)
        raise self._failed(f"The model server did not serve {model} version {version} within {seconds:g} s.")

    def _failed(self, sentence: str) -> ServingError:
        """The error with what the server logged last."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return ServingError(f"{sentence} It logged last: {' / '.join(lines[-3:])}")


def _status(client: Client, model: str, version: int) -> VersionStatus | None:
    """A version's status; None while the server is not listening yet or does not know the model yet."""
    try:
        return next((found for found in client.status(model) if found.version == version), None)
    except ServingError:
        return None


@contextlib.contextmanager
def local_server(flags: Sequence[str]) -> Iterator[LocalServer]:
    """Start `python -m serving.model_server` with these flags on free ports; when the block ends it ends."""
    grpc_port, rest_port = free_ports(2)
    command = [sys.executable, "-m", "serving.model_server", f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    with tempfile.NamedTemporaryFile(prefix="model_server_", suffix=".log") as log:
        process = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
        try:
            yield LocalServer(f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}", process, Path(log.name))
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
