"""The local model server as a child process that does not outlive its parent's block."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.client import connect, wait_until_available
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
        """Return once a version is served. Raises ServingError, with the log's end, if it cannot be, or not in time."""
        try:
            with connect(self.grpc_address, timeout=5.0) as client:
                wait_until_available(client, model, version, seconds, lambda: self.process.poll() is None)
        except ServingError as error:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            raise ServingError(f"{error} It logged last: {' / '.join(lines[-3:])}") from None


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
