"""Serving SavedModels that others wrote: in TF1's style, TF2's and Keras 3's."""

import base64
import contextlib
import shutil

import grpc
import numpy as np
import pytest

from serving.model_server.flags import parse_flags
from serving.model_server.server import ModelServer
from serving.protos import classification_pb2, example_pb2, inference_pb2, regression_pb2, saved_model_pb2
from serving.tensors import array_from_proto
from tests.serving.model_server.foreign_models import save_foreign_models

# What is broken of a model, and what the message of its state says.
REFUSED = {
    "empty": "SavedModel file does not exist",
    "truncated": "Cannot parse file",
    "no_variables": "is not a valid checkpoint",
    "no_asset": "vocabulary.txt; No such file or directory",
    "unknown_op": "Op type not registered 'Quadruple'",
}


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder of the models' base paths, and for each model what asks the framework itself."""
    root = tmp_path_factory.mktemp("foreign")
    asks = save_foreign_models(root, tmp_path_factory.mktemp("originals"))
    broken = {name: shutil.copytree(root / "colours" / "1", root / name / "1") for name in REFUSED}
    for path in broken["empty"].iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    shutil.rmtree(broken["no_variables"] / "variables")
    (broken["no_asset"] / "assets" / "vocabulary.txt").unlink()
    graph = (root / "colours" / "1" / "saved_model.pb").read_bytes()
    (broken["truncated"] / "saved_model.pb").write_bytes(graph[:-100])
    saved = saved_model_pb2.SavedModel.FromString(graph)
    next(node for node in saved.meta_graphs[0].graph_def.node if node.op == "Exp").op = "Quadruple"
    (broken["unknown_op"] / "saved_model.pb").write_bytes(saved.SerializeToString())
    return root, asks


@pytest.fixture(scope="module")
def serve(written, tmp_path_factory, ports, connect, configure):
    """Starts a server of all the models."""
    config = tmp_path_factory.mktemp("config") / "models.config"
    models = [configure(path.name, path, "model_version_policy { all {} }") for path in written[0].iterdir()]
    config.write_text(f"model_config_list {{\n{''.join(models)}}}\n")
    with contextlib.ExitStack() as running:

        def start(*flags):
            grpc_port, rest_port = ports(2)
            flags = [f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--max_num_load_retries=0", *flags]
            server = ModelServer(parse_flags([*flags, f"--model_config_file={config}"]))
            server.start()
            running.callback(server.stop)
            return running.enter_context(contextlib.closing(connect(grpc_port, rest_port)))

        yield start


@pytest.fixture(scope="module")
def served(serve):
    return serve()


def ask(client, name, inputs, signature="serving_default", version=1):
    """The outputs by gRPC, which REST's must equal."""
    response = client.prediction.Predict(client.request(name, inputs, signature=signature, version=version))
    outputs = {alias: array_from_proto(proto) for alias, proto in response.outputs.items()}
    encode = np.vectorize(lambda each: {"b64": base64.b64encode(each).decode()}, otypes=[object])
    columns = {alias: (encode(value) if value.dtype == object else value).tolist() for alias, value in inputs.items()}
    body = {"signature_name": signature, "inputs": columns}
    status, answer = client.rest(f"{name}/versions/{version}:predict", body)
    assert status == 200, answer
    columns = answer["outputs"] if len(outputs) > 1 else dict.fromkeys(outputs, answer["outputs"])
    for alias, array in outputs.items():
        same = np.vectorize(bytes.decode, otypes=[object])(array) if array.dtype == object else array
        assert np.array_equal(np.array(columns[alias], same.dtype), same)
    return outputs


def example(**features):
    made = example_pb2.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        (feature.bytes_list if isinstance(value, bytes) else feature.float_list).value.append(value)
    return made


def strings(*values):
    return np.array(values, object)


NUMBERS, WORDS = [example(x=2.0), example(x=-3.0, x2=7.0)], [example(word=w) for w in (b"green", b"red", b"pink")]
SERIALIZED = {"inputs": strings(*[each.SerializeToString() for each in WORDS])}
IDS, X, X3 = np.int32([[1, 2, 0, 0]]), np.float32([[1], [2]]), np.float32([[1, 2, 3]])


@pytest.mark.parametrize(
    ("model", "signature", "inputs"),
    [
        ("half", "serving_default", {"x": X}),
        ("half", "regress_x2_to_y3", {"inputs": X}),
        ("half_as_text", "serving_default", {"x": X}),
        ("colours", "serving_default", SERIALIZED),
        ("colours", "predict", {"words": strings(b"blue", b"pink", b"red")}),
        ("legacy", "regress", SERIALIZED),
        ("legacy", "predict", {"words": strings(b"blue", b"pink", b"red")}),
        ("lookups", "look_up", {"text": strings(b"red green", "one blue héllo".encode())}),
        ("lookups", "join", {"text": strings(b"a", b"b")}),
        ("lookups", "name", {"n": np.int64([1, 5, 0])}),
        ("lookups", "steps", {"n": np.int32(27)}),
        ("lookups", "rows", {"r": np.float32([1, 2, 4]), "r_1": np.int64([0, 2, 2, 3])}),
        ("lookups", "scale", {"x": X[0], "by": np.float32(4)}),
        ("functional", "serving_default", {"numbers": np.float32([[3, 4]]), "word": strings([b"a"])}),
        ("text", "serving_default", {"text": strings(b"Green, RED pink", b"")}),
        ("sequential", "serve", {"ids": IDS}),
        ("subclassed", "serving_default", {"args_0": X3}),
        ("archive", "serve", {"x": X3}),
        ("archive", "halved", {"x": X3}),
    ],
)
def test_both_transports_give_the_frameworks_own_answer(served, written, model, signature, inputs):
    expected = written[1][model](signature, inputs)
    found = ask(served, model, inputs, signature)
    assert found.keys() == expected.keys()
    for alias, array in expected.items():
        assert (found[alias].dtype, found[alias].shape) == (array.dtype, array.shape)
        if array.dtype == object:
            assert found[alias].tolist() == array.tolist()
        else:
            np.testing.assert_allclose(found[alias], array, rtol=1e-5)


def test_named_inputs_and_outputs_by_rows(served, written):
    inputs = {"numbers": np.float32([[3, 4], [5, 6]]), "word": strings([b"a"], [b"b"])}
    expected = written[1]["functional"]("serving_default", inputs)
    rows = [{"numbers": [3, 4], "word": ["a"]}, {"numbers": [5, 6], "word": ["b"]}]
    status, answer = served.rest("functional:predict", {"instances": rows})
    assert status == 200
    for alias, array in expected.items():
        np.testing.assert_allclose([row[alias] for row in answer["predictions"]], array, rtol=1e-5)


def filled(request, name, signature, examples):
    request.model_spec.name, request.model_spec.signature_name = name, signature
    request.input.example_list.examples.extend(examples)
    return request


def test_classify_and_regress_numbers(served):
    regression = filled(regression_pb2.RegressionRequest(), "half", "regress_x_to_y", NUMBERS)
    assert [each.value for each in served.prediction.Regress(regression).result.regressions] == [3.0, 0.5]
    classification = filled(classification_pb2.ClassificationRequest(), "half", "classify_x_to_y", NUMBERS)
    rows = served.prediction.Classify(classification).result.classifications
    assert [[(each.label, each.score) for each in row.classes] for row in rows] == [[("", 3.0)], [("", 0.5)]]
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": -3.0}]}
    assert served.rest("half:regress", body) == (200, {"results": [3.0, 0.5]})
    body["signature_name"] = "classify_x_to_y"
    assert served.rest("half:classify", body) == (200, {"results": [[["", 3.0]], [["", 0.5]]]})


@pytest.mark.parametrize("model", ["colours", "legacy"])
def test_classify_words_by_tables(served, written, model):
    request = filled(classification_pb2.ClassificationRequest(), model, "", WORDS)
    request.model_spec.version.value = 1
    rows = served.prediction.Classify(request).result.classifications
    body = {"examples": [{"word": "green"}, {"word": "red"}, {"word": "pink"}]}
    status, answer = served.rest(f"{model}/versions/1:classify", body)
    assert status == 200
    expected = written[1][model]("serving_default", SERIALIZED)
    told = zip(rows, answer["results"], expected["classes"], expected["scores"], strict=True)
    for row, pairs, classes, scores in told:
        assert [each.label.encode() for each in row.classes] == classes.tolist()
        assert [label.encode() for label, _ in pairs] == classes.tolist()
        np.testing.assert_allclose([each.score for each in row.classes], scores, rtol=1e-6)
        np.testing.assert_allclose([score for _, score in pairs], scores, rtol=1e-6)


def test_several_signatures_in_one_run(served):
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.extend(NUMBERS)
    for method, signature in (("regress", "regress_x_to_y"), ("classify", "classify_x_to_y")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    regression, classification = served.prediction.MultiInference(request).results
    assert [each.value for each in regression.regression_result.regressions] == [3.0, 0.5]
    assert [row.classes[0].score for row in classification.classification_result.classifications] == [3.0, 0.5]


@pytest.mark.parametrize("model", ["half", "half_as_text"])
def test_an_asset_is_found_where_it_lies_now(served, model):
    outputs = ask(served, model, {"x": X}, "parameters")
    assert (outputs["a"], outputs["asset"].tolist()) == (0.5, [b"asset-file-contents"])


def test_tables_of_two_versions_do_not_mix(served):
    words = {"words": strings(b"red", b"green", b"blue")}
    assert ask(served, "colours", words, "predict", version=1)["ids"].tolist() == [0, 1, 2]
    assert ask(served, "colours", words, "predict", version=2)["ids"].tolist() == [2, 1, 0]


def test_a_counter_keeps_what_both_transports_add(served):
    add = {"n": np.int64(2)}
    first = served.predict("lookups", add, signature="count")["total"]
    assert served.rest("lookups:predict", {"signature_name": "count", "inputs": 3}) == (200, {"outputs": first + 3})
    assert served.predict("lookups", add, signature="count") == {"total": first + 5}


def test_an_input_with_a_default_value_may_be_left_out(served):
    assert served.predict("lookups", {"x": X[1]}, signature="scale") == {"output_0": [6.0]}


@pytest.mark.parametrize(("model", "dtype"), [("float16", "half"), ("bfloat16", "bfloat16")])
def test_short_floats_travel_by_grpc_alone(served, written, model, dtype):
    proto = served.prediction.Predict(served.request(model, {"x": X3})).outputs["output_0"]
    assert len(proto.half_val) == 2
    assert np.array_equal(array_from_proto(proto), written[1][model]("serving_default", {"x": X3})["output_0"])
    status, answer = served.rest(f"{model}:predict", {"instances": X3.tolist()})
    assert (status, answer) == (400, {"error": f"Failed to write JSON value for tensor type: {dtype}"})


def test_a_keras_model_that_tensorflow_saved_lacks_its_variables(served, written):
    # Its graph fills copies of the variables and reads the originals; TensorFlow's own loader does not go by the graph.
    # TensorFlow Serving answers the same (tensorflow/serving#2226, keras-team/keras#19274): `export` is Keras's way.
    assert written[1]["saved"]("serving_default", {"inputs": IDS})
    assert served.states("saved") == {1: "AVAILABLE"}
    with pytest.raises(grpc.RpcError, match="Could not find variable") as caught:
        served.predict("saved", {"inputs": IDS})
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_tags_choose_the_graph(serve):
    client = serve("--saved_model_tags=serve,gpu")
    assert client.predict("half", {"x": X}) == {"y": [[2.5], [3.0]]}
    assert [*client.rest("half/metadata")[1]["metadata"]["signature_def"]["signature_def"]] == ["serving_default"]
    (status,) = client.rest("archive")[1]["model_version_status"]
    assert status["state"] == "END"
    assert "tags 'serve', 'gpu' could not be found in SavedModel" in status["status"]["error_message"]


@pytest.mark.parametrize("broken", REFUSED)
def test_what_cannot_be_loaded_says_why(served, broken):
    (status,) = served.rest(broken)[1]["model_version_status"]
    assert status["state"] == "END"
    assert status["status"]["error_code"] != "OK"
    assert REFUSED[broken] in status["status"]["error_message"]
