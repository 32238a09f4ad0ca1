"""The thread that looks for new versions and for changes of the config file, and retries failed loads."""

import logging
import threading
import time
from typing import Any

from serving.model_server.config import ServerConfig, read_config
from serving.model_server.errors import ServerError
from serving.model_server.flags import Flags
from serving.model_server.manager import ModelManager
from serving.model_server.versions import scan_versions

_LOG = logging.getLogger(__name__)


class Watcher:
    """Keeps a manager in step with the disk, at the intervals (whole seconds) that the flags give."""

    def __init__(self, manager: ModelManager, flags: Flags, config_text: str) -> None:
        """`config_text` is the config file's text as it was applied already."""
        self._manager = manager
        self._flags = flags
        self._applied = config_text
        self._count = 0
        self._refused: Any = None
        self._retry_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._count = self._manager.configs_applied
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Ends the thread; False if it is still busy loading after `timeout` seconds."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        folders, config = self._flags.file_system_poll_wait_seconds, self._flags.model_config_file_poll_wait_seconds
        seconds = 0
        while not self._stopping.wait(1.0):
            seconds += 1
            try:
                if self._flags.model_config_file and config > 0 and seconds % config == 0:
                    self._reread()
                self._manager.poll(rescan=folders > 0 and seconds % folders == 0)
            except Exception:  # noqa: BLE001 - the server goes on with what it has; the next second is another chance
                _LOG.exception("Looking for changes failed")

    def _reread(self) -> None:
        try:
            config, text = read_config(self._flags)
        except ServerError as error:
            self._refuse(str(error), error)
            return
        # What a reload by RPC has changed since is taken back, as TensorFlow Serving does: the file has the say.
        if text == self._applied and self._manager.configs_applied == self._count:
            self._refused = None
            return
        # A refused config is tried again when its text or the version folders have changed, and as failed loads are.
        attempt = text, _folders(config)
        if attempt == self._refused and time.monotonic() < self._retry_at:
            return
        self._retry_at = time.monotonic() + max(0, self._flags.load_retry_interval_micros) / 1e6
        try:
            # A reload by RPC may have had its turn meanwhile, whose config is in the file by now.
            self._manager.apply(config, lambda: read_config(self._flags)[1] == text)
        except ServerError as error:
            self._refuse(attempt, error)
        else:
            self._applied, self._refused, self._count = text, None, self._manager.configs_applied
            _LOG.info("New config applied from %s", self._flags.model_config_file)

    def _refuse(self, attempt: Any, error: ServerError) -> None:
        if attempt != self._refused:
            _LOG.error("New config refused, the former one stays: %s", " ".join(str(error).split()))
        self._refused = attempt


def _folders(config: ServerConfig) -> dict[str, set[int]]:
    found = {}
    for model in config.models:
        try:
            found[model.name] = set(scan_versions(model.base_path))
        except OSError:
            found[model.name] = set()
    return found
