"""The REST client."""

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from serving.client.interface import Answer, Arrays, Client, Signature, TensorInfo, VersionStatus, as_array, as_text
from serving.errors import ServingError
from serving.repository import STABLE


class RestClient(Client):
    """A model server's REST port. Connections are kept and reused."""

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__(address.rstrip("/"), timeout)
        # trust_env: a proxy for the world outside must not catch requests to a server on this machine.
        self._http = httpx.Client(timeout=timeout, trust_env=False)

    def ask(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = STABLE,
    ) -> Answer:
        """See `Client.ask`. Whole numbers come as int64, others as float32: JSON does not tell more.

        An answer in JSON does not tell its version either: the server is asked first which one it would be.
        """
        if version is not None:
            return Answer(self.predict(model, inputs, signature=signature, version=version), version)
        found = self._version_of(model, label)
        try:
            return Answer(self.predict(model, inputs, signature=signature, version=found), found)
        except ServingError:
            # Between the two requests another version may have taken the label, and this one be gone.
            now = self._version_of(model, label)
            if now == found:
                raise
            return Answer(self.predict(model, inputs, signature=signature, version=now), now)

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        signature: str = "serving_default",
        version: int | None = None,
        label: str | None = STABLE,
    ) -> Arrays:
        """See `Client.predict`; in one request."""
        columns = {name: _to_json(as_array(value)) for name, value in inputs.items()}
        # The column format carries outputs of any shape and no name twice.
        body = {"signature_name": signature, "inputs": columns}
        outputs = self._call("POST", f"{_path(model, version, label)}:predict", model, body)["outputs"]
        if not isinstance(outputs, dict):  # a single output comes without its name
            name = next(iter(self.metadata(model, version=version, label=label)[signature].outputs))
            outputs = {name: outputs}
        return {name: as_text(name, _from_json(value)) for name, value in outputs.items()}

    def metadata(self, model: str, *, version: int | None = None, label: str | None = STABLE) -> dict[str, Signature]:
        """See `Client.metadata`."""
        answer = self._call("GET", f"{_path(model, version, label)}/metadata", model)
        signatures = answer["metadata"]["signature_def"]["signature_def"]
        return {
            name: Signature(_tensors(signature["inputs"]), _tensors(signature["outputs"]))
            for name, signature in signatures.items()
        }

    def status(self, model: str) -> list[VersionStatus]:
        """See `Client.status`."""
        return self._status(model, None)

    def _status(self, model: str, label: str | None) -> list[VersionStatus]:
        answer = self._call("GET", _path(model, None, label), model)
        return [
            VersionStatus(int(found["version"]), found["state"], found["status"]["error_message"])
            for found in answer["model_version_status"]
        ]

    def _version_of(self, model: str, label: str | None) -> int:
        """The version that answers for a label, or without one."""
        for found in self._status(model, label):
            if label or found.state == "AVAILABLE":
                return found.version
        raise self.refused(model, "none of its versions is AVAILABLE")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _call(self, method: str, path: str, model: str, body: Any = None) -> Any:
        try:
            content = None if body is None else json.dumps(body)
            response = self._http.request(method, self.address + path, content=content)
        except httpx.TimeoutException:
            raise self.too_late() from None
        except (httpx.TransportError, httpx.InvalidURL):
            raise self.unreachable() from None
        try:
            answer = response.json()
        except ValueError:
            raise self.refused(
                model, f"status {response.status_code} and no JSON, so that is no model server"
            ) from None
        if response.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise self.too_late()
        if response.status_code != httpx.codes.OK:
            raise self.refused(model, str(answer.get("error", answer)))
        return answer


def _path(model: str, version: int | None, label: str | None) -> str:
    path = f"/v1/models/{quote(model, safe='@')}"
    if version is not None:
        return f"{path}/versions/{version}"
    return f"{path}/labels/{quote(label, safe='')}" if label else path


def _to_json(array: np.ndarray) -> Any:
    """Nested lists; strings as TensorFlow Serving's base64 objects, which carry any bytes."""
    if array.dtype != object:
        return array.tolist()
    if array.ndim == 0:
        return {"b64": base64.b64encode(array.item()).decode()}
    return [_to_json(np.asarray(item, dtype=object)) for item in array]


def _from_json(value: Any) -> np.ndarray:
    value = _decoded(value)
    flat = value
    while isinstance(flat, list) and flat:
        flat = flat[0]
    if isinstance(flat, (str, bytes)):
        return np.asarray(value, dtype=object)
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _tensors(tensors: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(info["dtype"], tuple(int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])))
        for name, info in tensors.items()
    }
