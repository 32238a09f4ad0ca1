"""The chief of a search: hands out trials to workers, on this machine and on others, by Keras Tuner's own protocol.

Keras Tuner's own chief waits for ever for a worker that died, and after an exception inside it everybody does. Here a
trial whose worker is silent can be given to another one, and what fails is told to everybody.
"""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from pipelines.errors import PipelineError
from pipelines.tuning.roster import RefusalError, Roster

WORKER, PROCESS = "zoo-worker-bin", "zoo-process-bin"
"""The headers of a call with the id of the worker and the mark of its process, for which the protocol has no place; by
gRPC's rules the ending lets them be in any letters."""


class Chief(Roster):
    """Serves an oracle at `address` from background threads, from the beginning of a `with` block to its end.

    Entering raises PipelineError where it cannot listen at the address.
    """

    def __init__(self, oracle: keras_tuner.Oracle, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 is any free one."""
        super().__init__(oracle)
        self.error: Exception | None = None
        """What failed inside a call, such as writing to a full disk. All calls are refused from then on."""
        self.host, self.port = host, port

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(max_workers=8)
        # By default a second chief would share the port, and each would get some of the calls.
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        protos.get_service_grpc().add_OracleServicer_to_server(_Service(self), self._server)
        try:
            # gRPC says only in C++ why it cannot listen: ask the socket first.
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            socket.create_server((self.host, self.port), family=family).close()
            self.port = self._server.add_insecure_port(self.address)
        except (OSError, OverflowError, RuntimeError) as error:
            self.stop()
            reason = getattr(error, "strerror", None) or error
            raise PipelineError(
                f"The chief cannot listen at {self.address} ({reason}); give it an address of this machine and a free "
                "port."
            ) from error
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End serving, within a second."""
        self._server.stop(grace=0.5).wait(1)
        self._pool.shutdown(wait=False)


class _Service(OracleServicer):
    """Keras Tuner's service. Each call has the oracle for itself."""

    def __init__(self, chief: Chief) -> None:
        super().__init__(chief.oracle)
        self._chief = chief

    def GetSpace(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's names
        """What is searched."""
        with self._call(context):
            return super().GetSpace(request, context)

    def UpdateSpace(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Add to what is searched."""
        with self._call(context):
            return super().UpdateSpace(request, context)

    def GetBestTrials(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The best trials so far."""
        with self._call(context):
            return super().GetBestTrials(request, context)

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """A trial for a worker."""
        with self._call(context) as (_, process):
            trial = self._chief.hand_out(request.tuner_id, process)
            return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def GetTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """A trial; our own workers ask for theirs as a sign of life."""
        with self._call(context) as (worker, process):
            self._chief.find(request.trial_id)
            if worker:
                self._chief.claim(request.trial_id, worker, process)
            return super().GetTrial(request, context)

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """What came of a trial."""
        with self._call(context) as (worker, process):
            if self._chief.claim(request.trial_id, worker, process):
                self._expect_objective(request.metrics)
                return super().UpdateTrial(request, context)
            trial = self._chief.find(request.trial_id)
            return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """A trial is over."""
        with self._call(context) as (worker, process):
            trial = TunerTrial.from_proto(request.trial)
            if self._chief.claim(trial.trial_id, worker, process):
                if trial.status == "COMPLETED":
                    self._expect_objective(self._chief.find(trial.trial_id).metrics.metrics)
                self._chief.end(trial)
            return protos.get_service().EndTrialResponse()

    @contextlib.contextmanager
    def _call(self, context: grpc.ServicerContext) -> Iterator[tuple[str, str]]:
        """The id and the mark of the worker that calls. What is raised inside becomes an answer."""
        headers: dict[str, Any] = dict(context.invocation_metadata())
        try:
            with self._chief.turn():
                if self._chief.error is not None:
                    raise RefusalError(grpc.StatusCode.INTERNAL, _failure(self._chief.error))
                try:
                    yield headers.get(WORKER, b"").decode(), headers.get(PROCESS, b"").decode()
                except RefusalError:
                    raise
                except Exception as error:
                    self._chief.error = error
                    raise RefusalError(grpc.StatusCode.INTERNAL, _failure(error)) from error
        except RefusalError as refusal:
            context.abort(refusal.code, str(refusal))

    def _expect_objective(self, metrics: Any) -> None:
        try:
            self._chief.oracle._check_objective_found(metrics)
        except ValueError as error:
            raise RefusalError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error


def _failure(error: Exception) -> str:
    return f"The chief has failed ({' '.join(f'{type(error).__name__}: {error}'.split())[:300]})."
