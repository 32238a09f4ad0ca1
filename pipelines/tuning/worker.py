"""A worker's connection to the chief of a search: Keras Tuner's client, without its patience of an hour.

A chief that is killed and started again within seconds at the same address is waited for; when it stays away, the
worker ends. While a trial runs the chief is asked about it every few seconds: thereby each knows that the other is
alive, and the worker learns that its trial was given to somebody else.
"""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

import grpc
from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_client import OracleClient

from pipelines.errors import Stopped
from pipelines.tuning.chief import PROCESS, WORKER
from pipelines.tuning.loop import TrialIsLost

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class ChiefIsGone(Stopped):
    """The chief does not answer any more."""


class RemoteOracle(OracleClient):
    """The oracle of the chief at `address` (`host:port`), for one worker.

    As a context manager it first waits for a chief to be there. Every call raises ChiefIsGone when the chief has not
    answered for `patience` seconds, TrialIsLost when the trial is somebody else's by now, and another Stopped when the
    chief refuses the call or has failed: none of them is the trial's own fault.
    """

    def __init__(
        self,
        address: str,
        worker_id: str,
        *,
        wait: float = 600.0,
        patience: float = 30.0,
        deadline: float = 20.0,
        beat: float = 5.0,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        """All times are in seconds: how long to wait for a chief to be there, how long one may be away, how long it has
        for one answer, and how often it is asked about the trial that runs."""
        self.address, self.tuner_id = address, worker_id
        # What Keras Tuner's client needs besides: there is no other process of this worker.
        self._oracle, self.multi_worker, self.should_report = None, False, True
        self._wait, self._patience, self._deadline, self._beat, self._say = wait, patience, deadline, beat, say
        # gRPC would try again ever more seldom, in the end every two minutes; and a proxy is for the world outside.
        options = [("grpc.max_reconnect_backoff_ms", 1000), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._calls = protos.get_service_grpc().OracleStub(self._channel)
        self.stub = _Stub(self._call)
        self._headers = ((WORKER, worker_id.encode()), (PROCESS, uuid.uuid4().hex.encode()))
        self._trial_id: str | None = None
        self._lost: Stopped | None = None
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._keep_in_touch, name=f"heartbeat of {worker_id}", daemon=True)

    def __enter__(self) -> Self:
        ready = grpc.channel_ready_future(self._channel)
        try:
            try:
                ready.result(timeout=min(2.0, self._wait))
            except grpc.FutureTimeoutError:
                self._say(f"Waiting up to {self._wait:g} s for the chief at {self.address} ...")
                ready.result(timeout=max(0.0, self._wait - 2.0))
        except grpc.FutureTimeoutError:
            self.close()
            raise ChiefIsGone(
                f"No chief has answered at {self.address} for {self._wait:g} s; start it, or give its right address."
            ) from None
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        self._channel.close()
        if self._heart.is_alive():
            self._heart.join(timeout=2)

    def check(self) -> None:
        """Raise what a call would if that has come out while the trial runs; to be called after every batch."""
        if self._lost is not None:
            raise self._lost

    def create_trial(self, tuner_id: str) -> TunerTrial:
        """The next trial; see `TrialSource`."""
        self._trial_id, self._lost = None, None
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self._trial_id = trial.trial_id
        return trial

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> TunerTrial:
        """Report what came of a trial."""
        return super().update_trial(trial_id, {name: float(value) for name, value in metrics.items()}, step)

    def end_trial(self, trial: TunerTrial) -> None:
        """Say that a trial is over."""
        self._trial_id = None
        super().end_trial(trial)

    def _call(self, name: str, request: Any) -> Any:
        """Ask until the chief answers or patience ends. All calls may be repeated: the answer may be what was lost."""
        began = time.monotonic()
        while True:
            left = began + self._patience - time.monotonic()
            try:
                return self._once(name, request, min(self._deadline, max(left, 0.1)))
            except grpc.RpcError as error:
                if error.code() not in _AWAY or self._closed.is_set():
                    self._explain(error)
                if time.monotonic() - began >= self._patience:
                    raise self._gone() from error
            time.sleep(min(0.2, self._patience / 10))

    def _once(self, name: str, request: Any, timeout: float) -> Any:
        return getattr(self._calls, name)(request, wait_for_ready=True, timeout=timeout, metadata=self._headers)

    def _keep_in_touch(self) -> None:
        answered = time.monotonic()
        while not self._closed.wait(self._beat):
            trial_id = self._trial_id
            if trial_id is None or self._lost is not None:
                answered = time.monotonic()
                continue
            try:
                left = answered + self._patience - time.monotonic()
                request = protos.get_service().GetTrialRequest(trial_id=trial_id)
                self._once("GetTrial", request, min(self._deadline, max(left, 0.1)))
                answered = time.monotonic()
            except ValueError:  # closed meanwhile
                return
            except grpc.RpcError as error:
                if error.code() not in _AWAY:
                    self._note(trial_id, error)
                elif time.monotonic() - answered >= self._patience:
                    self._lost = self._gone()

    def _note(self, trial_id: str, error: grpc.RpcError) -> None:
        try:
            self._explain(error)
        except Stopped as lost:
            if self._trial_id == trial_id:  # otherwise it has ended meanwhile
                self._lost = lost

    def _explain(self, error: grpc.RpcError) -> NoReturn:
        match error.code():
            case grpc.StatusCode.ABORTED:
                raise TrialIsLost(error.details()) from error
            case grpc.StatusCode.UNIMPLEMENTED:
                raise Stopped(f"What answers at {self.address} is no chief of a search.") from error
        raise Stopped(f"The chief at {self.address} refuses: {error.details()}") from error

    def _gone(self) -> ChiefIsGone:
        return ChiefIsGone(
            f"The chief at {self.address} has not answered for {self._patience:g} s; start it again with --resume, "
            "then this worker."
        )


class _Stub:
    """What Keras Tuner's client calls; the times that it allows are not its own."""

    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda request, **its_own: self._call(name, request)
