"""The REST protocol."""

import base64
import gzip
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest


def raw(client, path, body):
    return client.http.post(f"/v1/models/{path}:predict", content=body).text


def signature(name, **members):
    return {"signature_name": name, **members}


def test_row_form(client):
    assert client.rest("half:predict", {"instances": [1.0, 2]}) == (200, {"predictions": [3.5, 4.0]})
    assert client.rest("half:predict", {"instances": [{"x": 1}, {"x": 5}]}) == (200, {"predictions": [3.5, 5.5]})
    body = {"instances": [{"x": 1.0, "n": 2}, {"x": 2.0, "n": 3}]}
    answer = {"predictions": [{"count": 4, "total": 3.0}, {"count": 6, "total": 5.0}]}
    assert client.rest("many:predict", body) == (200, answer)


def test_column_form(client):
    assert client.rest("half:predict", {"inputs": [1.0, 2]}) == (200, {"outputs": [3.5, 4.0]})
    assert client.rest("half:predict", {"inputs": {"x": [2]}}) == (200, {"outputs": [4.0]})
    body = {"inputs": {"x": [1.0], "n": [2]}}
    assert client.rest("many:predict", body) == (200, {"outputs": {"count": [4], "total": [3.0]}})
    assert client.rest("many:predict", signature("mean", inputs=[1, 2])) == (200, {"outputs": 1.5})
    assert client.rest("many:predict", signature("slow", inputs=3)) == (200, {"outputs": 3})


def test_versions_labels_and_names_in_paths(client):
    body = {"instances": [0]}
    assert client.rest("half/versions/1:predict", body) == (200, {"predictions": [2.0]})
    assert client.rest("half/versions/01:predict", body) == (200, {"predictions": [2.0]})
    assert client.rest("half/labels/candidate:predict", body) == (200, {"predictions": [3.0]})
    assert client.rest("a%20name:predict", body) == (200, {"predictions": [2.0]})
    assert client.http.post("/V1/Models/half/Labels/stable:PREDICT", json=body).json() == {"predictions": [2.0]}
    assert client.rest("HALF:predict", body) == (404, {"error": "Servable not found for request: Latest(HALF)"})


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/modelz/half", 400, "Malformed request: GET /v1/modelz/half"),
        ("POST", "/v1/models/half", 400, "Malformed request: POST /v1/models/half"),
        ("POST", "/v1/models/half:guess", 400, "Malformed request: POST /v1/models/half:guess"),
        ("DELETE", "/v1/models/half", 400, "Malformed request: DELETE /v1/models/half"),
        (
            "POST",
            "/v1/models/half/versions/x:predict",
            400,
            "Malformed request: POST /v1/models/half/versions/x:predict",
        ),
        ("GET", "/elsewhere", 404, None),
        ("GET", "/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("GET", "/v1/models/half/versions/9", 404, "Could not find version 9 of model half"),
        ("GET", "/v1/models/half/labels/gold", 400, "Unrecognized servable version label: gold"),
        ("POST", "/v1/models/half/versions/9:predict", 404, "Servable not found for request: Specific(half, 9)"),
        ("POST", "/v1/models/absent:predict", 404, "Servable not found for request: Latest(absent)"),
        ("POST", "/v1/models/half/versions/99999999999999999999:predict", 400, None),
    ],
)
def test_refused_paths(client, method, path, status, error):
    response = client.http.request(method, path, content=b'{"instances": [1]}' if method == "POST" else None)
    assert response.status_code == status
    assert error is None or response.json() == {"error": error}
    assert "error" in response.json()
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("model", "body", "fragment"),
    [
        ("half", "", "The document is empty"),
        ("half", "{", "JSON Parse error"),
        ("half", "[1]", "Is not object"),
        ("half", b'{"instances": ["\xff"]}', "JSON Parse error"),
        ("half", {}, "Missing 'inputs' or 'instances' key"),
        ("half", {"inputs": [1], "instances": [1]}, "only one of 'inputs' or 'instances'"),
        ("half", {"instances": 1}, "'instances' to be an list/array"),
        ("half", {"instances": []}, "No values in 'instances' array"),
        ("half", signature(1, instances=[1]), "'signature_name' key must be a string value"),
        ("half", signature("s", instances=[1]), 'Serving signature name: "s" not found in signature def'),
        ("half", {"instances": [[1], [1, 2]]}, "Failed to process element: 1 of 'instances' list"),
        ("half", {"instances": [1, [1]]}, "Failed to process element: 1 of 'instances' list"),
        ("half", {"instances": [[[1], [1, 2]]]}, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("half", {"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1"),
        ("half", {"instances": [2, {"x": 1}]}, "Expecting value/list but got object at item 1"),
        ("half", {"instances": [{"z": 1}]}, "does not have named input: z"),
        ("half", {"instances": [{}]}, "keys must be equal to: x"),
        ("many", {"instances": [1]}, "instances is a plain list"),
        ("many", {"inputs": [1]}, "inputs is a plain value/list"),
        ("many", {"inputs": {"x": [1]}}, "Missing named input: n in 'inputs' object."),
        ("half", {"instances": [True]}, "JSON Value: true Type: True is not of expected type: float"),
        ("half", {"instances": ["1"]}, 'JSON Value: "1" Type: String is not of expected type: float'),
        ("half", {"instances": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        ("half", {"instances": [{"b64": "AA=="}]}, "is not of expected type: float"),
        ("half", {"instances": [2**24 + 1]}, "to float without loss of precision"),
        ("half", {"instances": [1e39]}, "to float without loss of precision"),
        ("many", signature("integers", instances=[1.0]), "is not of expected type: int32"),
        ("many", signature("integers", instances=[True]), "is not of expected type: int32"),
        ("many", signature("integers", instances=[2**31]), "is not of expected type: int32"),
        ("many", signature("booleans", instances=[1]), "is not of expected type: bool"),
        ("many", signature("text", instances=[1]), "is not of expected type: string"),
        ("many", signature("text", instances=[{"b64": "*"}]), "Unable to base64 decode"),
        ("many", signature("text", instances=[{"b64": "_-8="}]), "Unable to base64 decode"),
        ("many", signature("mean", instances=[1]), "Tensor name: mean has no shape information"),
        ("many", signature("uneven", instances=[1, 2]), "has inconsistent batch size"),
        ("many", signature("halves", instances=[1]), "Failed to write JSON value for tensor type: half"),
        ("many", signature("pair", instances=[1]), "reshape"),
    ],
)
def test_refused_bodies(client, model, body, fragment):
    status, answer = client.rest(f"{model}:predict", body)
    assert (status, list(answer)) == (400, ["error"])
    assert fragment in answer["error"]


def test_a_long_error_is_truncated(client):
    _, answer = client.rest("half:predict", {"instances": ["x" * 3000]})
    assert len(answer["error"]) == 1024 + len("...TRUNCATED")
    assert answer["error"].endswith("...TRUNCATED")


def test_strings_and_base64(client):
    image = b"\x89PNG\xff"
    encoded = base64.b64encode(image).decode()
    body = signature("strings", instances=[{"s": "héllo"}, {"s": {"b64": base64.b64encode(b"abc").decode()}}])
    assert client.rest("many:predict", body)[1]["predictions"] == [
        {"length": 6, "raw_bytes": {"b64": base64.b64encode("héllo".encode()).decode()}, "text": "héllo"},
        {"length": 3, "raw_bytes": {"b64": "YWJj"}, "text": "abc"},
    ]
    # One encoded string is a value, not an object of named inputs; missing padding is forgiven.
    for text in (encoded, encoded.rstrip("=")):
        response = client.http.post("/v1/models/many:predict", json=signature("text", instances=[{"b64": text}]))
        assert image in response.content
    assert client.rest("many:predict", signature("text", inputs={"s": [{"b64": "YWJj"}]})) == (
        200,
        {"outputs": ["abc"]},
    )


def test_other_types(client):
    assert client.rest("many:predict", signature("bytes8", instances=[[0, 255]])) == (200, {"predictions": [[0, 255]]})
    answer = {"predictions": [True, False]}
    assert client.rest("many:predict", signature("booleans", instances=[True, False])) == (200, answer)
    big = {"instances": [{"x": 0, "n": 2**62 - 1}]}
    assert client.rest("many:predict", big)[1]["predictions"][0]["count"] == 2**63 - 2


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("1", "1.0"),
        ("-0.0", "-0.0"),
        ("0.2", "0.2"),
        ("16777215", "16777215.0"),
        ("9000000", "9e+06"),
        ("0.00003", "3e-05"),
        ("0.123456789", "0.123456791"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_how_floats_are_written(client, sent, written):
    body = f'{{"signature_name": "floats", "instances": [{sent}]}}'
    assert raw(client, "many", body) == f'{{"predictions": [{written}]}}'


def test_doubles_keep_all_their_digits(client):
    values = [math.pi, 1e-300, 0.1, 12345678.0]
    assert client.rest("many:predict", signature("doubles", instances=values)) == (200, {"predictions": values})


def test_floats_survive_the_way_there_and_back(client):
    values = np.random.default_rng(0).standard_normal((50, 3, 2)).astype(np.float32)
    body = signature("floats", instances=values.tolist())
    for key, answer in (("instances", "predictions"), ("inputs", "outputs")):
        body = signature("floats", **{key: values.tolist()})
        returned = client.rest("many:predict", body)[1][answer]
        assert np.array_equal(np.array(returned, np.float32), values)


def test_empty_tensors(client):
    # A detector, say, that finds nothing.
    assert client.rest("many:predict", signature("none", instances=[1.0, 2.0])) == (200, {"predictions": []})
    assert client.rest("many:predict", signature("floats", inputs=[])) == (200, {"outputs": []})
    assert client.rest("many:predict", signature("floats", instances=[[], []])) == (200, {"predictions": [[], []]})


def test_compressed_bodies(client):
    body = gzip.compress(b'{"instances": [1]}')
    headers = {"content-encoding": "gzip"}
    response = client.http.post("/v1/models/half:predict", content=body, headers=headers)
    assert response.json() == {"predictions": [3.5]}
    for wrong in (b'{"instances": [1]}', body[:-9]):
        assert client.http.post("/v1/models/half:predict", content=wrong, headers=headers).status_code == 400
    headers = {"content-encoding": "br"}
    assert client.http.post("/v1/models/half:predict", content=body, headers=headers).status_code == 400


def test_a_body_over_four_megabytes(client):
    values = [0.25] * 900_000
    body = json.dumps({"instances": values}).encode()
    assert len(body) > 4 * 2**20
    status, answer = client.rest("half:predict", body)
    assert (status, len(answer["predictions"]), answer["predictions"][-1]) == (200, 900_000, 3.125)


def test_status(client):
    assert client.rest("half/labels/stable")[1] == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert [status["version"] for status in client.rest("half")[1]["model_version_status"]] == ["2", "1"]


def test_metadata(client):
    status, answer = client.rest("half/versions/1/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    signature_def = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    x = signature_def["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert x["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signature_def["method_name"] == "tensorflow/serving/predict"


def test_web_pages_may_call(client):
    response = client.http.get("/v1/models/half", headers={"origin": "http://example.org"})
    assert response.headers["access-control-allow-origin"] == "*"


def test_a_prediction_that_takes_too_long(servers, library, tmp_path, configure):
    library.put("many", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"), "--rest_api_timeout_in_ms=100")
    status, answer = client.rest("m:predict", signature("slow", inputs=10**9))
    assert (status, list(answer)) == (504, ["error"])
    assert client.rest("m:predict", signature("slow", inputs=3)) == (200, {"outputs": 3})


def test_a_request_that_outlasts_the_drain_is_refused(servers, library, tmp_path, configure):
    library.put("many", tmp_path / "m", 1)
    flags = ["--drain_seconds=1", "--rest_api_timeout_in_ms=5000"]
    client = servers.start(configure("m", tmp_path / "m"), *flags)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.rest, "m:predict", signature("slow", inputs=10**9))
        time.sleep(0.3)
        servers.stop(drained=False)
        assert asking.result() == (503, {"error": "The server is shutting down"})
