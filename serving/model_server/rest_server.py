"""The HTTP server that runs the REST API."""

import socket
import threading
import time

import uvicorn

from serving.model_server.rest_api import RestApi


class RestServer:
    """Runs the application with uvicorn in a thread of its own, on a socket that is bound already."""

    def __init__(self, api: RestApi, bound: socket.socket, *, drain_seconds: float) -> None:
        self._api = api
        self._socket = bound
        config = uvicorn.Config(
            api,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            # Longer than clients keep idle connections, so that none sends into a closing one.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([bound],), name="rest-server", daemon=True)

    def start(self) -> None:
        """Starts to accept requests and returns once it does; OSError if another process was faster at the port."""
        self._socket.listen(2048)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        """Stops accepting requests; those in flight go on. Returns at once, `join` waits."""
        self._server.should_exit = True

    def join(self, timeout: float) -> bool:
        """Waits for requests in flight; False if some are still unanswered after `timeout` seconds."""
        if self._thread.ident is None:
            self._socket.close()
        else:
            self._thread.join(timeout)
        finished = not self._thread.is_alive()
        self._api.close()
        return finished
