"""Who has the ports that this project's servers listen at unless they are told otherwise?"""

from dataclasses import dataclass

from pipelines.doctor.finding import Finding
from serving.ports import is_free

SECONDS = 2.0
ASKED_FOR = "doctor"
"""A model that no server has to have: that it says so shows what it is."""


@dataclass(frozen=True)
class Port:
    """A port by its usual number."""

    number: int
    use: str
    elsewhere: str
    """How to use another one."""


GRPC = Port(8500, "gRPC of the model server", "zoo serve --port=…, or GRPC_PORT=… for docker compose")
REST = Port(8501, "REST of the model server", "zoo serve --rest_api_port=…, or REST_PORT=… for docker compose")
UI = Port(5000, "MLflow", "zoo ui --port …, or MLFLOW_PORT=… for docker compose")
PROXY = Port(8080, "docker compose's proxy", "PROXY_PORT=… for docker compose")
PROMETHEUS = Port(9090, "docker compose's Prometheus", "PROMETHEUS_PORT=… for docker compose")


def grpc_port(number: int = GRPC.number) -> Finding:
    """The model server's gRPC port."""
    return _finding(GRPC, number, "a model server" if model_server_answers(f"127.0.0.1:{number}") else "")


def rest_port(number: int = REST.number) -> Finding:
    """The model server's REST port."""
    return _finding(REST, number, "a model server" if model_server_answers(f"http://127.0.0.1:{number}") else "")


def ui_port(number: int = UI.number) -> Finding:
    """The port of MLflow's UI, or of its server."""
    version = mlflow_version(f"http://127.0.0.1:{number}")
    return _finding(UI, number, f"MLflow {version}" if version else "")


def proxy_port(number: int = PROXY.number) -> Finding:
    """The port of the proxy in docker-compose.yml."""
    answers = _text(f"http://127.0.0.1:{number}/healthz") == "ok"
    return _finding(PROXY, number, "the proxy" if answers else "")


def prometheus_port(number: int = PROMETHEUS.number) -> Finding:
    """The port of Prometheus in docker-compose.yml."""
    answers = (_text(f"http://127.0.0.1:{number}/-/healthy") or "").startswith("Prometheus")
    return _finding(PROMETHEUS, number, "Prometheus" if answers else "")


def _finding(port: Port, number: int, who: str) -> Finding:
    name = f"port {number}"
    if who:
        return Finding(name, "ok", f"{who} answers there")
    if is_free("127.0.0.1", number):
        return Finding(name, "ok", f"free, for {port.use}")
    found = f"taken by something else; it is meant for {port.use}"
    return Finding(name, "note", found, f"End what listens there, or choose another port: {port.elsewhere}.")


def model_server_answers(address: str) -> bool:
    """Whether a model server, whatever it serves, is at HOST:PORT (gRPC) or at an http(s) URL (REST)."""
    if not address.startswith(("http://", "https://")):
        return _grpc_answers(address)
    import httpx

    try:
        # trust_env: a proxy for the world outside must not catch requests to a server on this machine.
        answer = httpx.get(f"{address.rstrip('/')}/v1/models/{ASKED_FOR}", timeout=SECONDS, trust_env=False).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return False
    return isinstance(answer, dict) and bool({"error", "model_version_status"} & answer.keys())


def _grpc_answers(address: str) -> bool:
    import grpc

    from serving.protos import get_model_status_pb2, model_pb2, model_service_pb2_grpc

    request = get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name=ASKED_FOR))
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request, timeout=SECONDS)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.NOT_FOUND
    return True


def mlflow_version(url: str) -> str:
    """The version of the MLflow server at `url`, which it tells any host; empty where there is none."""
    return (_text(f"{url}/version") or "") if _text(f"{url}/health") == "OK" else ""


def _text(url: str) -> str | None:
    """What a server on this machine answers; None where there is none, or where it has no such page."""
    import httpx

    try:
        answer = httpx.get(url, timeout=SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer.text.strip() if answer.status_code == httpx.codes.OK else None
