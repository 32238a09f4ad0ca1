"""The gRPC protocol."""

import grpc
import numpy as np
import pytest

from serving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


def refusal(call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    return caught.value.code().name, caught.value.details()


def predict_refusal(client, name, inputs, **spec):
    return refusal(client.prediction.Predict, client.request(name, inputs, **spec))


X = {"x": np.float32([1, 2])}


def test_predict_answers_with_typed_fields_and_the_resolved_model_spec(client):
    response = client.prediction.Predict(client.request("half", X))
    assert list(response.outputs["y"].float_val) == [3.5, 4.0]
    assert not response.outputs["y"].tensor_content
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [2]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half", 2, "serving_default")


def test_predict_by_version_and_by_label(client):
    assert client.predict("half", X, version=1) == {"y": [2.5, 3.0]}
    assert client.predict("half", X, label="stable") == {"y": [2.5, 3.0]}
    assert client.predict("half", X, label="candidate") == {"y": [3.5, 4.0]}


def test_several_outputs_are_filtered(client):
    inputs = {"x": np.float32([1]), "n": np.int64([2**40])}
    response = client.prediction.Predict(client.request("many", inputs))
    assert list(response.outputs["count"].int64_val) == [2**41]
    assert set(response.outputs) == {"count", "total"}
    assert set(client.predict("many", inputs, output_filter=["count"])) == {"count"}
    assert predict_refusal(client, "many", inputs, output_filter=["z"]) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {count,total}.",
    )
    assert predict_refusal(client, "many", inputs, output_filter=["count", "count"]) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: count",
    )


@pytest.mark.parametrize(
    ("signature", "alias", "value"),
    [
        ("strings", "s", np.array([b"a\x00\xff", b""], object)),
        ("integers", "k", np.int32([-5, 2**31 - 1])),
        ("bytes8", "k", np.uint8([[0, 255]])),
        ("booleans", "b", np.array([True, False])),
        ("doubles", "d", np.array([0.1, 1e300])),
        ("floats", "x", np.float32(3.0)),
        ("floats", "x", np.zeros((2, 0, 3), np.float32)),
    ],
)
def test_every_dtype_travels_both_ways_in_both_encodings(client, signature, alias, value):
    request = client.request("many", {alias: value}, signature=signature)
    output = {"strings": "raw_bytes", "floats": "y"}.get(signature, alias)
    proto = client.prediction.Predict(request).outputs[output]
    request.inputs[alias].CopyFrom(proto)
    assert client.prediction.Predict(request).outputs[output] == proto
    assert client.predict("many", {alias: value}, signature=signature)[output] == value.tolist()


def test_tensor_content_is_read(client):
    request = client.request("half", {"x": np.float32([0])})
    request.inputs["x"].ClearField("float_val")
    request.inputs["x"].tensor_content = np.float32([8]).tobytes()
    assert list(client.prediction.Predict(request).outputs["y"].float_val) == [7.0]


def test_one_typed_value_fills_the_shape(client):
    request = client.request("half", {"x": np.float32([8])})
    request.inputs["x"].tensor_shape.dim[0].size = 3
    assert list(client.prediction.Predict(request).outputs["y"].float_val) == [7.0, 7.0, 7.0]


@pytest.mark.parametrize(("signature", "alias", "value"), [("floats", "x", np.float32([8])), ("text", "s", [b"a"])])
def test_but_not_to_more_than_memory_should_hold(client, signature, alias, value):
    request = client.request(
        "many", {alias: np.array(value, object if signature == "text" else None)}, signature=signature
    )
    request.inputs[alias].tensor_shape.dim[0].size = 2**25
    assert refusal(client.prediction.Predict, request) == ("INVALID_ARGUMENT", f"tensor parsing error: {alias}")


def test_an_empty_tensor_with_a_giant_side(client):
    request = client.request("many", {"x": np.zeros((0, 3), np.float32)}, signature="floats")
    assert client.prediction.Predict(request).outputs["y"].tensor_shape.dim[1].size == 3
    request.inputs["x"].tensor_shape.dim[1].size = 2**31 - 1
    assert refusal(client.prediction.Predict, request) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_a_model_in_tf1_style_is_served(client):
    assert client.predict("tf1", X) == {"y": [4.0, 8.0]}


def test_the_graph_decides_about_shapes(client):
    # A feed of another rank than the signature's, which Session.run would refuse.
    assert client.predict("half", {"x": np.float32([[1, 2]])}) == {"y": [[3.5, 4.0]]}


def test_a_request_that_the_graph_refuses(client):
    code, message = predict_refusal(client, "many", {"x": np.float32([1])}, signature="pair")
    assert code == "INVALID_ARGUMENT"
    assert "reshape" in message


def test_an_error_that_quotes_what_is_no_text(client):
    code, message = predict_refusal(client, "many", {"s": np.array([b"a\xffb"], object)}, signature="to_number")
    assert code == "INVALID_ARGUMENT"
    assert "StringToNumberOp could not correctly convert string: a\ufffdb" in message


def test_booleans_of_any_bytes(client):
    request = client.request("many", {"b": np.zeros(300, bool)}, signature="booleans")
    request.inputs["b"].ClearField("bool_val")
    request.inputs["b"].tensor_content = bytes(range(256)) + bytes(44)
    answer = client.prediction.Predict(request).outputs["b"].bool_val
    assert list(answer) == [False] + [True] * 255 + [False] * 44


def test_refused_inputs(client):
    assert predict_refusal(client, "half", {}) == (
        "INVALID_ARGUMENT",
        "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
    )
    assert predict_refusal(client, "half", {"z": np.float32([1])}) == (
        "INVALID_ARGUMENT",
        "Signature input alias: x(feed name: serving_default_x:0) not found in request and no default value provided. "
        "Inputs expected to be in the request {z}, or default input alias set: ",
    )
    code, message = predict_refusal(client, "half", {"x": np.float64([1])})
    assert (code, message[:54]) == ("INVALID_ARGUMENT", "Expects arg[0] to be float but double is provided (inp")
    request = client.request("half", X)
    request.inputs["x"].tensor_content = b"123"
    assert refusal(client.prediction.Predict, request) == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_refused_model_specs(client):
    assert refusal(client.prediction.Predict, predict_pb2.PredictRequest()) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert predict_refusal(client, "", X) == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert predict_refusal(client, "nope", X) == ("NOT_FOUND", "Servable not found for request: Latest(nope)")
    assert predict_refusal(client, "absent", X) == ("NOT_FOUND", "Servable not found for request: Latest(absent)")
    assert predict_refusal(client, "half", X, version=7) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(half, 7)",
    )
    assert predict_refusal(client, "half", X, label="gold") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: gold",
    )
    assert predict_refusal(client, "half", X, signature="s") == (
        "FAILED_PRECONDITION",
        'Serving signature key "s" not found.',
    )


def test_a_long_message_is_truncated(client):
    _, message = predict_refusal(client, "half", X, signature="s" * 2000)
    assert len(message) == 1024 + len("...TRUNCATED")
    assert message.endswith("...TRUNCATED")


@pytest.mark.parametrize("size", [0, 1])
def test_strings_of_many_dimensions(client, size):
    assert predict_refusal(client, "many", {"s": np.full([size] * 33, b"a", object)}, signature="text") == (
        "INVALID_ARGUMENT",
        "A tensor of strings has at most 32 dimensions here, not 33",
    )
    most = np.full([size] * 32, b"a", object)
    assert client.predict("many", {"s": most}, signature="text") == {"text": most.tolist()}


def test_a_request_over_four_megabytes(client):
    value = np.arange(3_000_000, dtype=np.float32)
    outputs = client.prediction.Predict(client.request("half", {"x": value})).outputs["y"].float_val
    assert len(outputs) == 3_000_000
    assert outputs[-1] == value[-1] * 0.5 + 3


def test_status_of_all_versions_newest_first(client):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half"
    statuses = client.models.GetModelStatus(request).model_version_status
    assert [status.version for status in statuses] == [2, 1]
    assert client.states("half", version=1) == {1: "AVAILABLE"}
    assert client.states("half", label="candidate") == {2: "AVAILABLE"}
    assert refusal(client.states, "nope") == ("NOT_FOUND", "Could not find any versions of model nope")


def test_metadata_carries_the_signatures(client):
    response = client.metadata("half", label="stable")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert "x" in signatures.signature_def["serving_default"].inputs
    assert response.model_spec.version.value == 1
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "half"
    assert refusal(client.prediction.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"
    request.metadata_field.append("weights")
    assert refusal(client.prediction.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"


def test_a_config_is_reloaded_by_rpc(servers, library, tmp_path, configure):
    for version, graph in ((1, "plus_two"), (2, "plus_three")):
        library.put(graph, tmp_path / "m", version)
    client = servers.start(configure("m", tmp_path / "m", "model_version_policy { specific { versions: 1 } }"))
    assert client.predict("m", X)["y"] == [2.5, 3.0]

    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(
        name="m", base_path=str(tmp_path / "m"), model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions[:] = [1, 2]
    model.version_labels["stable"] = 2
    reply = client.models.HandleReloadConfigRequest(request)
    assert reply.status.error_code == 0
    assert client.predict("m", X, label="stable")["y"] == [3.5, 4.0]
    assert client.predict("m", X, version=1)["y"] == [2.5, 3.0]

    model.version_labels["stable"] = 3
    code, message = refusal(client.models.HandleReloadConfigRequest, request)
    assert code == "FAILED_PRECONDITION"
    assert "label to version 3 of model m, which is not currently available for inference (label stable)" in message
    assert client.predict("m", X, label="stable")["y"] == [3.5, 4.0]

    # As in TensorFlow Serving: a request that says nothing does not take everything away.
    code, message = refusal(client.models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
    assert code == "INVALID_ARGUMENT"
    assert "Only ModelConfigList is currently supported" in message


def test_answers_as_tensor_content_on_request(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    client = servers.start(configure("m", tmp_path / "m"), "--enable_serialization_as_tensor_content")
    output = client.prediction.Predict(client.request("m", X)).outputs["y"]
    assert output.tensor_content == np.float32([2.5, 3.0]).tobytes()
    assert not output.float_val


def test_a_unix_socket_and_no_port(servers, library, tmp_path, configure):
    library.put("plus_two", tmp_path / "m", 1)
    path = tmp_path / "socket"
    client = servers.start(configure("m", tmp_path / "m"), "--port=0", f"--grpc_socket_path={path}")
    with grpc.insecure_channel(f"unix:{path}") as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        assert list(predict(client.request("m", X)).outputs["y"].float_val) == [2.5, 3.0]
