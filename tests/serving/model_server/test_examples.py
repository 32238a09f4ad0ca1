"""Classify, Regress and MultiInference in both transports, on a model in TF1's style: its signatures share an input."""

import grpc
import pytest

from serving.protos import (
    classification_pb2,
    example_pb2,
    inference_pb2,
    prediction_log_pb2,
    regression_pb2,
)
from tests.serving.model_server.judging_model import CLASSIFY, REGRESS, save_judge


@pytest.fixture(scope="module")
def judge_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("judge") / "model"
    save_judge(path)
    return path


@pytest.fixture(scope="module")
def judge(judge_path, tmp_path_factory, launch):
    """A client of a server with that model as version 3, `stable`."""
    folder = tmp_path_factory.mktemp("judges")
    return launch(folder, judge_path, 3, 'version_labels { key: "stable" value: 3 }')


@pytest.fixture(scope="module")
def strict_judge(judge_path, tmp_path_factory, launch):
    """The same with --enable_signature_method_name_check."""
    return launch(tmp_path_factory.mktemp("strict"), judge_path, 3, "", "--enable_signature_method_name_check")


def example(**features):
    made = example_pb2.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def filled(request, *xs, signature="", model="judge", context=None, **spec):
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    if context is not None:
        request.input.example_list_with_context.context.CopyFrom(context)
        request.input.example_list_with_context.examples.extend(example(x=x) for x in xs)
    else:
        request.input.example_list.examples.extend(example(x=x) for x in xs)
    return request


def classify(client, *xs, **arguments):
    return client.prediction.Classify(filled(classification_pb2.ClassificationRequest(), *xs, **arguments))


def regress(client, *xs, **arguments):
    return client.prediction.Regress(filled(regression_pb2.RegressionRequest(), *xs, **arguments))


def rows(response):
    return [[(c.label, c.score) for c in row.classes] for row in response.result.classifications]


def refusal(call, *arguments, **keywords):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)
    return caught.value.code().name, caught.value.details()


def body(*xs, signature=None, **members):
    named = {} if signature is None else {"signature_name": signature}
    return {**named, "examples": [{"x": x} for x in xs], **members}


def test_classify_answers_with_a_row_of_classes_an_example(judge):
    response = classify(judge, 0.5, 1.0)
    assert rows(response) == [[("small", 0.75), ("large", 0.25)], [("small", 0.5), ("large", 0.5)]]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("judge", 3, "serving_default")
    answer = {"results": [[["small", 0.75], ["large", 0.25]], [["small", 0.5], ["large", 0.5]]]}
    assert judge.rest("judge:classify", body(0.5, 1.0)) == (200, answer)
    assert judge.rest("judge/versions/3:classify", body(0.5, 1.0)) == (200, answer)
    assert judge.rest("judge/labels/stable:classify", body(0.5, 1.0)) == (200, answer)
    assert rows(classify(judge, 0.5, label="stable")) == rows(classify(judge, 0.5, version=3))


def test_what_the_model_does_not_give_stays_empty(judge):
    assert rows(classify(judge, 1.5, signature="scores_only")) == [[("", 0.25), ("", 0.75)]]
    assert rows(classify(judge, 1.5, signature="classes_only")) == [[("small", 0), ("large", 0)]]
    assert judge.rest("judge:classify", body(1.5, signature="scores_only"))[1] == {
        "results": [[["", 0.25], ["", 0.75]]]
    }


@pytest.mark.parametrize("signature", ["value", "column"])
def test_regress_answers_with_a_value_an_example(judge, signature):
    response = regress(judge, 2.0, 4.0, signature=signature)
    assert [regression.value for regression in response.result.regressions] == [3.0, 4.0]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("judge", 3, signature)
    assert judge.rest("judge:regress", body(2.0, 4.0, signature=signature)) == (200, {"results": [3.0, 4.0]})


def test_a_context_is_part_of_each_example(judge):
    assert rows(classify(judge, 0.5, context=example(scale=2.0))) == [[("small", 0.5), ("large", 0.5)]]
    answer = {"results": [[["small", 0.5], ["large", 0.5]]]}
    assert judge.rest("judge:classify", body(0.5, context={"scale": 2.0})) == (200, answer)


def test_a_predict_signature_classifies_too_unless_names_are_checked(judge, strict_judge):
    assert len(rows(classify(judge, 1.0, signature="by_predict"))) == 1
    expected = (
        "INVALID_ARGUMENT",
        f"Expected classification signature method_name to be {CLASSIFY}. Was: tensorflow/serving/predict",
    )
    assert refusal(classify, strict_judge, 1.0, signature="by_predict") == expected
    assert rows(classify(strict_judge, 1.0)) == rows(classify(judge, 1.0))
    assert regress(strict_judge, 2.0, signature="value").result.regressions[0].value == 3.0
    code, message = refusal(regress, strict_judge, 1.0, signature="scores_only")
    assert (code, message) == (
        "INVALID_ARGUMENT",
        f"Expected regression signature method_name to be {REGRESS}. Was: {CLASSIFY}",
    )


CLASSIFY_REFUSALS = [
    ("nope", "INVALID_ARGUMENT", "No signature was found with the name: nope"),
    ("two_inputs", "INVALID_ARGUMENT", "Expected one input Tensor."),
    ("misnamed_input", "FAILED_PRECONDITION", "No classification inputs found in SignatureDef: "),
    ("misnamed_output", "FAILED_PRECONDITION", 'outputs to contain at least one of "classes" or "scores". Signature'),
    ("three_outputs", "INVALID_ARGUMENT", "Expected one or two output Tensors, found 3"),
    ("flat_scores", "INVALID_ARGUMENT", "Expected Tensor shape: [batch_size num_classes] but got [2]"),
    ("whole_scores", "INVALID_ARGUMENT", "Expected scores Tensor of DT_FLOAT. Got: DT_INT32"),
    ("swapped", "INVALID_ARGUMENT", "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
    ("uneven", "INVALID_ARGUMENT", "Tensors class and score should match in dim_size(1). Got 2 vs. 1"),
    ("short", "INVALID_ARGUMENT", "Expected scores output batch size of 2. Got: 1"),
    ("latin", "INVALID_ARGUMENT", "is not UTF-8 text"),
]
REGRESS_REFUSALS = [
    ("nope", "INVALID_ARGUMENT", "No signature was found with the name: nope"),
    ("misnamed_input", "FAILED_PRECONDITION", "No regression inputs found in SignatureDef: "),
    ("misnamed_value", "FAILED_PRECONDITION", "No regression outputs found in SignatureDef: "),
    ("two_values", "INVALID_ARGUMENT", "Expected one output Tensor."),
    ("pair", "INVALID_ARGUMENT", "shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
    ("whole", "INVALID_ARGUMENT", "Expected output Tensor of DT_FLOAT.  Got: DT_INT32"),
    ("short_value", "INVALID_ARGUMENT", "Input batch size did not match output batch size: 2 vs. 1"),
]


@pytest.mark.parametrize(
    ("call", "verb", "signature", "code", "fragment"),
    [(classify, "classify", *row) for row in CLASSIFY_REFUSALS]
    + [(regress, "regress", *row) for row in REGRESS_REFUSALS],
)
def test_signatures_and_outputs_of_another_form(judge, call, verb, signature, code, fragment):
    got, message = refusal(call, judge, 1.0, 2.0, signature=signature)
    assert got == code
    assert fragment in message
    status, answer = judge.rest(f"judge:{verb}", body(1.0, 2.0, signature=signature))
    assert status == 400
    assert fragment in answer["error"]


def test_requests_without_a_model_or_without_examples(judge):
    for call, message in (
        (judge.prediction.Classify, classification_pb2.ClassificationRequest()),
        (judge.prediction.Regress, regression_pb2.RegressionRequest()),
    ):
        assert refusal(call, message) == ("INVALID_ARGUMENT", "Missing ModelSpec")
        message.model_spec.SetInParent()
        assert refusal(call, message) == ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert refusal(classify, judge) == ("INVALID_ARGUMENT", "Input is empty.")
    assert refusal(regress, judge, signature="value") == ("INVALID_ARGUMENT", "Input is empty.")
    assert refusal(classify, judge, 1.0, model="nope") == ("NOT_FOUND", "Servable not found for request: Latest(nope)")
    missing = ("NOT_FOUND", "Servable not found for request: Specific(judge, 9)")
    assert refusal(classify, judge, 1.0, version=9) == missing


def test_an_example_that_the_graph_refuses(judge):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "judge"
    request.input.example_list.examples.add().features.feature["x"].bytes_list.value.append(b"1")
    code, message = refusal(judge.prediction.Classify, request)
    assert code == "INVALID_ARGUMENT"
    assert "x" in message


def tasks(*pairs, xs=(2.0,), model="judge"):
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in pairs:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend(example(x=x) for x in xs)
    return request


def test_multi_inference_runs_several_signatures_at_once(judge):
    request = tasks((REGRESS, "value"), (CLASSIFY, ""), xs=(2.0, 4.0))
    request.tasks[0].model_spec.version.value = 3
    value, classes = judge.prediction.MultiInference(request).results
    assert [regression.value for regression in value.regression_result.regressions] == [3.0, 4.0]
    assert [row.classes[1].score for row in classes.classification_result.classifications] == [1.0, 2.0]
    specs = [
        (each.model_spec.name, each.model_spec.version.value, each.model_spec.signature_name)
        for each in (value, classes)
    ]
    assert specs == [("judge", 3, "value"), ("judge", 3, "serving_default")]


@pytest.mark.parametrize(
    ("pairs", "code", "message"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            [(CLASSIFY, ""), (CLASSIFY, "serving_default")],
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: serving_default",
        ),
        ([(CLASSIFY, "nope")], "INVALID_ARGUMENT", "Requested signature not found in model graph: nope"),
        ([("predict", "")], "UNIMPLEMENTED", "Unsupported signature method_name: predict"),
        (
            [(CLASSIFY, ""), (REGRESS, "elsewhere")],
            "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
        (
            [(REGRESS, "pair")],
            "INVALID_ARGUMENT",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1,2]",
        ),
    ],
)
def test_refused_tasks(judge, pairs, code, message):
    assert refusal(judge.prediction.MultiInference, tasks(*pairs)) == (code, message)


def test_tasks_of_several_models_and_of_none(judge):
    request = tasks((CLASSIFY, ""), (REGRESS, "value"))
    request.tasks[1].model_spec.name = "other"
    message = "All ModelSpecs in a MultiInferenceRequest must access the same model name."
    assert refusal(judge.prediction.MultiInference, request) == ("INVALID_ARGUMENT", message)
    request.tasks[1].model_spec.name = ""
    message = "Found ModelSpec with an empty model name."
    assert refusal(judge.prediction.MultiInference, request) == ("INVALID_ARGUMENT", message)
    request = tasks((CLASSIFY, ""), xs=())
    assert refusal(judge.prediction.MultiInference, request) == ("INVALID_ARGUMENT", "Input is empty.")


def logs():
    """A warm-up record of each kind."""
    asked = filled(classification_pb2.ClassificationRequest(), 1.0)
    regressed = filled(regression_pb2.RegressionRequest(), 1.0, signature="value")
    yield prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=asked))
    yield prediction_log_pb2.PredictionLog(regress_log=prediction_log_pb2.RegressLog(request=regressed))
    both = tasks((CLASSIFY, ""), (REGRESS, "value"))
    yield prediction_log_pb2.PredictionLog(multi_inference_log=prediction_log_pb2.MultiInferenceLog(request=both))


@pytest.mark.parametrize("broken", [False, True])
def test_warm_up_of_every_kind(judge_path, tmp_path, launch, broken):
    records = [log.SerializeToString() for log in logs()]
    if broken:
        records.append(prediction_log_pb2.PredictionLog(session_run_log={}).SerializeToString())
    client = launch(tmp_path, judge_path, 1, "", warm_up=records)
    (status,) = client.rest("judge")[1]["model_version_status"]
    if broken:
        assert (status["state"], status["status"]["error_code"]) == ("END", "UNIMPLEMENTED")
        assert "Unsupported log_type for warmup: session_run_log" in status["status"]["error_message"]
    else:
        assert status["state"] == "AVAILABLE"
