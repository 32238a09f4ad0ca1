"""Requests that come at the same time run as one batch, and each gets what it would have got by itself."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.errors import ServingError
from serving.protos import classification_pb2

THREADS = ["--grpc_max_threads=32", "--rest_api_num_threads=32"]


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    """A SavedModel that answers x / 2 and how many rows its batch has, and refuses negative numbers."""
    module = tf.Module()

    def rows(x):
        return tf.fill(tf.shape(x), tf.size(x))

    def halve(x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0), ["negative"])]):
            return {"half": x / 2, "rows": rows(x)}

    def spell(a, b):
        return {"text": tf.strings.join([a, b]), "rows": rows(a)}

    def judge(inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"scores": tf.stack([x, tf.cast(rows(x), tf.float32)], axis=1)}

    def count(n):
        most = tf.reduce_max(n)
        return {"n": n + 0 * tf.while_loop(lambda i: i < most, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]}

    def mean(x):
        return {"mean": tf.reduce_mean(x)}

    floats, strings = tf.TensorSpec(None, tf.float32, name="x"), tf.TensorSpec([None], tf.string)
    signatures = {
        "serving_default": tf.function(halve, input_signature=[floats]),
        "spell": tf.function(spell, input_signature=[strings, strings]),
        "judge": tf.function(judge, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")]),
        "count": tf.function(count, input_signature=[tf.TensorSpec([None], tf.int64, name="n")]),
        "read": tf.function(
            lambda s: {"x": tf.strings.to_number(s)}, input_signature=[tf.TensorSpec([None], tf.string, name="s")]
        ),
        "mean": tf.function(mean, input_signature=[floats]),
    }
    for name, function in signatures.items():
        setattr(module, name, function)
    path = tmp_path_factory.mktemp("telling") / "model"
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


@pytest.fixture
def start(telling, tmp_path, launch):
    """A server of that model with these BatchingParameters."""

    def started(parameters, *flags):
        file = tmp_path / "batching.config"
        file.write_text(parameters)
        return launch(
            tmp_path / "models",
            telling,
            1,
            "",
            "--enable_batching",
            f"--batching_parameters_file={file}",
            *THREADS,
            *flags,
        )

    return started


def together(*calls):
    """What each of the calls returns, or raises, when all begin at once."""
    ready = threading.Barrier(len(calls))

    def begin(call):
        ready.wait()
        try:
            return call()
        except grpc.RpcError as error:
            return error.code().name, error.details()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(begin, call) for call in calls]]


PATIENT = "max_batch_size { value: 8 } batch_timeout_micros { value: 1000000 } num_batch_threads { value: 1 }"


def test_what_comes_together_is_one_batch_and_each_gets_its_rows(start):
    client = start(PATIENT)
    by_grpc = [lambda i=i: client.predict("judge", {"x": np.float32([2 * i])}) for i in range(4)]
    by_rest = [lambda i=i: client.rest("judge:predict", {"inputs": [2.0 * i, 2.0 * i]}) for i in range(2)]
    answers = together(*by_grpc, *by_rest)
    assert answers[:4] == [{"half": [float(i)], "rows": [8]} for i in range(4)]
    assert answers[4:] == [(200, {"outputs": {"half": [float(i)] * 2, "rows": [8, 8]}}) for i in range(2)]


def test_several_inputs_and_tf_examples_are_batched_too(start):
    client = start(PATIENT)
    spelled = [
        lambda i=i: client.predict(
            "judge", {"a": np.array([b"a"], object), "b": np.array([b"%d" % i], object)}, signature="spell"
        )
        for i in range(8)
    ]
    assert together(*spelled) == [{"text": [b"a%d" % i], "rows": [8]} for i in range(8)]

    def classify(x):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = "judge", "judge"
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(x)
        row = client.prediction.Classify(request).result.classifications[0]
        return [each.score for each in row.classes]

    assert together(*[lambda i=i: classify(i) for i in range(8)]) == [[i, 8.0] for i in range(8)]


def test_one_bad_request_fails_alone(start):
    client = start(PATIENT)
    numbers = [1.0, 2.0, -1.0, 3.0]
    answers = together(*[lambda x=x: client.predict("judge", {"x": np.float32([x, x])}) for x in numbers])
    code, message = answers.pop(2)
    assert code == "INVALID_ARGUMENT"
    assert "negative" in message
    assert [answer["half"] for answer in answers] == [[0.5, 0.5], [1.0, 1.0], [1.5, 1.5]]


def test_so_does_one_whose_error_is_no_text(start):
    client = start(PATIENT)
    words = [b"1", b"\xff", b"3"]
    calls = [lambda w=w: client.predict("judge", {"s": np.array([w, w], object)}, signature="read")["x"] for w in words]
    answers = together(*calls)
    assert answers.pop(1)[0] == "INVALID_ARGUMENT"
    assert answers == [[1.0, 1.0], [3.0, 3.0]]


def test_rows_of_other_shapes_do_not_mix(start):
    client = start(PATIENT)
    shapes = [(2, 3), (2, 2), (2,), (2, 1, 4)]
    answers = together(*[lambda s=s: client.predict("judge", {"x": np.ones(s, np.float32)})["half"] for s in shapes])
    assert answers == [(np.ones(shape) / 2).tolist() for shape in shapes]


def test_what_has_no_rows_or_is_no_whole_signature_runs_by_itself(start):
    client = start(PATIENT)
    assert client.predict("judge", {"x": np.float32(3)}, output_filter=["half"]) == {"half": 1.5}
    assert client.predict("judge", {"x": np.float32([])}) == {"half": [], "rows": []}
    assert client.predict("judge", {"x": np.float32([1])}, output_filter=["rows"]) == {"rows": [1]}
    # An output without rows makes TensorFlow refuse the batch.
    assert client.predict("judge", {"x": np.float32([1, 3])}, signature="mean") == {"mean": 2.0}


def test_batches_are_filled_up_to_the_sizes_that_are_allowed(start):
    client = start(
        "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8 batch_timeout_micros { value: 1 }"
    )
    assert client.predict("judge", {"x": np.float32([2, 4, 6])}) == {"half": [1.0, 2.0, 3.0], "rows": [4] * 3}
    assert client.predict("judge", {"x": np.float32([2] * 5)}) == {"half": [1.0] * 5, "rows": [8] * 5}


def test_large_requests_are_split_where_that_is_allowed(start):
    large = "max_batch_size { value: 16 } enable_large_batch_splitting { value: true }"
    client = start(f"{large} max_execution_batch_size {{ value: 4 }}")
    answer = client.predict("judge", {"x": np.arange(10, dtype=np.float32)})
    assert answer["half"] == [each / 2 for each in range(10)]
    assert answer["rows"] == [4] * 8 + [2] * 2


def test_a_request_of_more_rows_than_a_batch_has(start):
    client = start(PATIENT)
    message = "Task size 9 is larger than maximum input batch size 8"
    with pytest.raises(grpc.RpcError) as caught:
        client.predict("judge", {"x": np.zeros(9, np.float32)})
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", message)
    assert client.rest("judge:predict", {"inputs": [0] * 9}) == (400, {"error": message})


def test_what_is_too_much_to_wait_is_refused(start):
    client = start("max_batch_size { value: 1 } max_enqueued_batches { value: 1 } num_batch_threads { value: 1 }")
    body = {"signature_name": "count", "inputs": [300_000]}
    asked = [lambda: client.rest("judge:predict", body)] * 4
    asked += [lambda: client.predict("judge", {"n": np.int64([300_000])}, signature="count")] * 4
    answers = together(*asked)
    served = [answer for answer in answers if answer in ((200, {"outputs": [300_000]}), {"n": [300_000]})]
    refused = [answer for answer in answers if answer not in served]
    assert served
    assert refused
    for answer in refused:
        assert answer[0] in (429, "RESOURCE_EXHAUSTED")
        assert "queue to which this task was submitted is full" in str(answer[1])


def test_a_deadline_holds_in_a_batch(start):
    client = start("max_batch_size { value: 4 } batch_timeout_micros { value: 2000000 }")
    with pytest.raises(grpc.RpcError) as caught:
        client.prediction.Predict(client.request("judge", {"x": np.float32([1])}), timeout=0.5)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    answers = together(*[lambda: client.predict("judge", {"x": np.float32([2, 2])})["half"]] * 2)
    assert answers == [[1.0, 1.0]] * 2


def test_a_version_may_bring_its_own_parameters(telling, tmp_path, launch):
    def ask(folder, *flags):
        client = launch(folder, telling, 1, "", "--enable_batching", *flags)
        return client.predict("judge", {"x": np.float32([2, 4, 6])})["rows"]

    (telling / "batching_params.pbtxt").write_text("max_batch_size { value: 4 } allowed_batch_sizes: 4")
    try:
        assert ask(tmp_path / "with", "--enable_per_model_batching_parameters") == [4, 4, 4]
        assert ask(tmp_path / "without") == [3, 3, 3]
    finally:
        (telling / "batching_params.pbtxt").unlink()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("max_batch: 1", r"Error parsing text-format tensorflow.serving.BatchingParameters: 1:1"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be at least 0; was -1"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be at least 1; was 0"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be at least 1; was 0"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]", "must be monotonically increasing"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]", "last entry was 4; expected 8"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 4 } allowed_batch_sizes: [2, 8]",
            "must match max_execution_batch_size; last entry was 8; expected 4",
        ),
    ],
)
def test_parameters_that_are_wrong(start, parameters, message):
    with pytest.raises(ServingError, match=message):
        start(parameters)


def test_what_has_no_effect_is_said(start, caplog):
    with caplog.at_level(logging.WARNING):
        start('thread_pool_name { value: "t" } pad_variable_length_inputs: true')
    assert "pad_variable_length_inputs in " in caplog.text
    assert "thread_pool_name" not in caplog.text
