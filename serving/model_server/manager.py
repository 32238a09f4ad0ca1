"""Which versions are loaded: from configs and version folders to servables, and swapping them under load."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from serving.model_server.config import ModelConfig, ServerConfig
from serving.model_server.errors import ServerError, invalid_argument
from serving.model_server.signatures import Servable
from serving.model_server.versions import LoadOptions, Model, State, Version

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Staged:
    """A model as a config asks for it, before the config is accepted: `new` are versions it does not have yet."""

    config: ModelConfig
    model: Model
    wanted: frozenset[int]
    new: dict[int, Version]


class ModelManager:
    """Loads what the config asks for, unloads what it no longer does, and lends loaded versions to requests.

    A new version is loaded before an old one goes, and an old one goes when its last request is done, so that a swap
    loses no request. `apply`, `poll` and `close` may be called from any thread; they take turns.
    """

    def __init__(self, load: Callable[[str, Path, Path], Servable], options: LoadOptions) -> None:
        """`load` makes a servable of a model's name, a version's folder and the base path, or raises ServerError."""
        self._load_servable = load
        self._options = options
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()  # states and requests in flight; never held for long
        self._changes = threading.Lock()  # one change of the served set at a time
        self.configs_applied = 0

    @contextmanager
    def lease(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, Servable]]:
        """Lends a loaded version, the latest if neither version nor label is given: its number and servable.

        It stays loaded until it is handed back. Raises ServerError if it is not AVAILABLE or the label is unknown.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        with self._lock:
            found = self._find(name, version, label)
            servable = found.servable
            if servable is None:
                raise AssertionError(f"{found} is AVAILABLE without a servable")
            found.in_flight += 1
        try:
            yield found.number, servable
        finally:
            with self._lock:
                found.in_flight -= 1
                finished = found.in_flight == 0 and found.state is State.UNLOADING
            if finished:
                self._unload(found)

    def states(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[tuple[int, State, ServerError | None]]:
        """Number, state and error of a model's versions, newest first, or only of the one that is asked for."""
        with self._lock:
            if label is not None:
                version = self._labelled(name, label)
            versions = self._models[name].versions if name in self._models else {}
            if version is not None and version not in versions:
                raise ServerError(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}")
            if not versions:
                raise ServerError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
            numbers = sorted(versions, reverse=True) if version is None else [version]
            return [(number, versions[number].state, versions[number].error) for number in numbers]

    def known(self, name: str) -> str:
        """The name if a model of it is, or was, served, else empty: what requests are counted under."""
        return name if name in self._models else ""

    @property
    def busy(self) -> bool:
        """Whether a request still holds a version."""
        with self._lock:
            return any(version.in_flight for model in self._models.values() for version in model.versions.values())

    def apply(self, config: ServerConfig, still_wanted: Callable[[], bool] = lambda: True) -> list[Version]:
        """Makes `config` the truth: loads what is new, moves the labels, then unloads what is gone.

        A load that fails is retried by `poll` and refuses nothing by itself; returned are the failed versions of models
        that are new and have none to serve. A label on a version that does not become AVAILABLE raises ServerError
        FAILED_PRECONDITION: the former config stays, and no request has seen anything of the new one. Where it is not
        `still_wanted` when its turn comes, nothing happens.
        """
        with self._changes:
            if not still_wanted():
                return []
            known = {name for name, model in self._models.items() if model.config}
            staged = [self._stage(model, rescan=True) for model in config.models]
            self._load([version for stage in staged for version in stage.new.values()])
            try:
                for stage in staged:
                    self._check(stage)
            except ServerError:
                self._discard(staged)
                raise
            listed = {stage.config.name for stage in staged}
            for model in [model for name, model in self._models.items() if name not in listed]:
                self._leave(model)
            for stage in staged:
                self._commit(stage)
            self.configs_applied += 1
            idle = [stage for stage in staged if stage.config.name not in known and not stage.model.available()]
            return [version for stage in idle for version in stage.new.values() if version.error]

    def poll(self, *, rescan: bool = True) -> None:
        """Loads versions that have appeared and unloads those that are gone; retries failed loads that are due.

        Without `rescan` the version folders are not looked at.
        """
        with self._changes:
            for model in list(self._models.values()):
                if model.config is None:
                    continue
                stage = self._stage(model.config, rescan=rescan)
                self._load([version for version in {**model.versions, **stage.new}.values() if version.due])
                self._commit(stage)

    def close(self, timeout: float) -> bool:
        """Unloads everything; versions that requests still hold go with the last of these.

        False, and nothing is done, where a change of the served set, a load say, takes longer than `timeout` seconds.
        """
        if not self._changes.acquire(timeout=timeout):
            return False
        try:
            for model in self._models.values():
                self._leave(model)
        finally:
            self._changes.release()
        return True

    def _find(self, name: str, number: int | None, label: str | None) -> Version:
        if label is not None:
            number = self._labelled(name, label)
        available = self._models[name].available() if name in self._models else []
        for version in reversed(available):
            if number is None or version.number == number:
                return version
        request = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise ServerError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request}")

    def _labelled(self, name: str, label: str) -> int:
        labels = self._models[name].labels if name in self._models else {}
        if label not in labels:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[label]

    def _stage(self, config: ModelConfig, *, rescan: bool) -> _Staged:
        model = self._models.get(config.name)
        if model is None or model.base_path != config.base_path:
            model = Model(config.name, config.base_path)
        folders = model.scan(config) if rescan else None
        wanted = model.wanted if folders is None else frozenset(config.policy.choose(folders))
        new = {
            number: Version(config.name, number, folders[number], config.base_path)
            for number in sorted(wanted)
            if folders and model.is_to_be_loaded(number)
        }
        with self._lock:
            # In sight from now on, so that the status shows them loading.
            self._models.setdefault(config.name, model)
            model.versions.update(new)
        return _Staged(config, model, wanted, new)

    def _check(self, stage: _Staged) -> None:
        model, name = stage.model, stage.config.name
        held = [version for version in model.versions.values() if version.servable is not None]
        loaded = {version.number for version in held if version.state in (State.LOADING, State.AVAILABLE)}
        former = self._models[name]
        if former is not model and former.available() and not loaded:
            raise ServerError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Model {name} has no version that can be served under its new base_path {model.base_path}",
            )
        for label, number in stage.config.labels.items():
            if number in loaded & stage.wanted:
                continue
            if self._options.allow_labels_for_unavailable and former.labels.get(label, number) == number:
                continue
            failed = model.versions.get(number)
            reason = f": {failed.error}" if failed is not None and failed.error is not None else ""
            raise ServerError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {number} of model {name}, which is not currently available for "
                f"inference (label {label}){reason}",
            )

    def _discard(self, staged: Sequence[_Staged]) -> None:
        for stage in staged:
            with self._lock:
                for number in stage.new:
                    del stage.model.versions[number]
                if self._models[stage.config.name] is stage.model and stage.model.config is None:
                    del self._models[stage.config.name]
            for version in stage.new.values():
                if version.servable is not None:
                    version.servable.close()

    def _commit(self, stage: _Staged) -> None:
        model = stage.model
        with self._lock:
            former = self._models[model.name]
            self._models[model.name] = model
            model.config, model.wanted = stage.config, stage.wanted
            for version in model.versions.values():
                if version.state is State.LOADING and version.servable is not None:
                    version.state = State.AVAILABLE
                    _LOG.info(
                        "%s: AVAILABLE. Successfully loaded servable version {name: %s version: %d} in %.2f s",
                        version,
                        version.model_name,
                        version.number,
                        version.load_seconds,
                        extra=version.log_fields,
                    )
        if former is not model:
            self._leave(former)
        self._retire(model)

    def _leave(self, model: Model) -> None:
        model.config, model.wanted = None, frozenset()
        self._retire(model)

    def _retire(self, model: Model) -> None:
        """Takes away the versions that are not wanted, once there is one that is wanted and serves."""
        with self._lock:
            serving = any(version.number in model.wanted for version in model.available())
            gone = [version for version in model.versions.values() if version.number not in model.wanted]
            idle = []
            for version in gone:
                if version.state in (State.START, State.LOADING):
                    version.state = State.END
                elif version.state is State.AVAILABLE and (serving or not model.wanted):
                    version.state = State.UNLOADING
                    _LOG.info("%s: UNLOADING", version, extra=version.log_fields)
                    if version.in_flight == 0:
                        idle.append(version)
        for version in idle:
            self._unload(version)

    def _unload(self, version: Version) -> None:
        servable, version.servable = version.servable, None
        if servable is not None:
            servable.close()
        with self._lock:
            version.state = State.END
        _LOG.info("%s: END", version, extra=version.log_fields)

    def _load(self, versions: Sequence[Version]) -> None:
        if len(versions) > 1 and self._options.parallel > 1:
            with ThreadPoolExecutor(self._options.parallel, thread_name_prefix="load") as pool:
                list(pool.map(self._attempt, versions))
        else:
            for version in versions:
                self._attempt(version)

    def _attempt(self, version: Version) -> None:
        version.attempts += 1
        version.state = State.LOADING
        _LOG.info("%s: LOADING from %s", version, version.path, extra=version.log_fields)
        started = time.monotonic()
        try:
            version.servable = self._load_servable(version.model_name, version.path, version.base_path)
        except ServerError as error:
            version.error = error
            message = " ".join(str(error).split())
            if version.attempts > self._options.max_retries:
                version.state = State.END
                _LOG.error("%s: END, it could not be loaded: %s", version, message, extra=version.log_fields)
            else:
                version.retry_at = time.monotonic() + self._options.retry_seconds
                wait = self._options.retry_seconds
                _LOG.warning("%s: will be tried again in %g s: %s", version, wait, message, extra=version.log_fields)
        else:
            version.error = None
            version.load_seconds = time.monotonic() - started
