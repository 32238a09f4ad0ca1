"""What TensorFlow Serving says, to the word, where a REST request's JSON is not what it takes.

It reads JSON with RapidJSON and refuses what would be rounded; rows are held against the first one.
"""

import json

import pytest


def text(client, body, path="half:predict"):
    return client.rest(path, body)[1]["error"]


def nested(depth):
    return [nested(depth - 1)] if depth else [1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "The document is empty"),
        ("instances = [1, 2]", "Invalid value. at offset: 0"),
        ('{"instances": [1, x]}', "Invalid value. at offset: 18"),
        ('{"instances": [1,]}', "Invalid value. at offset: 17"),
        ("{instances: [1]}", "Missing a name for object member. at offset: 1"),
        ('{"instances" [1]}', "Missing a colon after a name of object member. at offset: 13"),
        ('{"instances": [1 2]}', "Missing a comma or ] after an array element. at offset: 17"),
        ('{"a]\\"": [{"b": 1}], "instances": [1', "Missing a comma or ] after an array element. at offset: 36"),
        ('{"instances": [1]', "Missing a comma or } after an object member. at offset: 17"),
        ('{"instances": ["a]}', "Missing a closing quotation mark in string. at offset: 15"),
        ('{"instances": ["\\x"]}', "Invalid escape character in string. at offset: 16"),
        ('{"instances": ["\\u12x4"]}', "Incorrect hex digit after \\u escape in string. at offset: 17"),
        ('{"instances": ["\x01"]}', "Invalid encoding in string. at offset: 16"),
        (b'{"instances": ["\xff"]}', "Invalid encoding in string. at offset: 16"),
        ('{"instances": [1]}}', "The document root must not be followed by other values. at offset: 18"),
        ('{"ä": [1]}}', "The document root must not be followed by other values. at offset: 11"),
        ('{"instances": [%s]}' % ("9" * 5000), "Number too big to be stored in double."),
        ('{"instances": [1e400]}', "Number too big to be stored in double."),
        ('{"instances": %s1}' % ("[" * 100_000), "The document is nested too deeply."),
        ("\ufeff{}".encode("utf-16"), "Invalid encoding in string. at offset: 0"),
    ],
)
def test_what_is_no_json(client, body, words):
    sent = body.encode("utf-8") if isinstance(body, str) else body
    assert text(client, sent) == f"JSON Parse error: {words}"


def test_a_byte_order_mark_is_passed_over(client):
    assert client.rest("half:predict", b'\xef\xbb\xbf{"instances": [1]}') == (200, {"predictions": [3.5]})


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("half", [1], "JSON Value: [1] Is not object"),
        ("half", {"instances": 1}, """JSON Value: {"instances": 1} Excepting 'instances' to be an list/array"""),
        ("half", {"instances": []}, """JSON Value: {"instances": []} No values in 'instances' array"""),
        (
            "half",
            {"signature_name": 5},
            """JSON Value: {"signature_name": 5} not formatted correctly. """
            "'signature_name' key must be a string value.",
        ),
        ("half", {}, "Missing 'inputs' or 'instances' key"),
        (
            "half",
            {"instances": [[1, 2], [3, 4], [5, 6, 7]]},
            "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 3",
        ),
        (
            "half",
            {"instances": [[1, 2], [3, 4], [[5, 6]]]},
            "Failed to process element: 2 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [2] but got: [1,2]",
        ),
        (
            "half",
            {"instances": [1, [1]]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [] but got: [1]",
        ),
        (
            "half",
            {"instances": [[1, 2], ["a", "b"]]},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            "many",
            {"instances": [{"x": 1, "n": 2}, {"x": [1], "n": 2}]},
            "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [] but got: [1]",
        ),
        ("half", {"inputs": [[1], [1, 2]]}, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        ("half", {"inputs": nested(64)}, "Encountered list at unexpected level: 64 expected < 64"),
        ("half", {"inputs": [1, [1]]}, "Encountered list at unexpected level: 1 expected < 1"),
        (
            "half",
            {"inputs": [[1], 1]},
            "JSON Value: 1 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        ("half", {"inputs": [16777217]}, "Cannot convert JSON value: 16777217 to float without loss of precision."),
        ("half", {"inputs": [True]}, "JSON Value: true Type: True is not of expected type: float"),
        ("half", {"inputs": [None]}, "JSON Value: null Type: Null is not of expected type: float"),
        (
            "half",
            {"instances": [{"x": 1, "z": 2}]},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
        ),
        (
            "many",
            {"instances": [{"x": 1}]},
            """Failed to process element: 0 of 'instances' list. JSON object: {"x": 1} keys must be equal to: n,x""",
        ),
        ("half", {"inputs": {"z": 1}}, "Missing named input: x in 'inputs' object."),
    ],
)
def test_what_is_json_of_another_form(client, model, body, words):
    assert text(client, json.dumps(body), f"{model}:predict") == words


def test_whole_numbers_that_no_integer_of_json_holds_are_taken_for_floats(client):
    # RapidJSON reads them as doubles, of which only the range is looked at.
    assert client.rest("half:predict", '{"inputs": [100000000000000000000]}') == (200, {"outputs": [5e19]})
    assert "without loss of precision" in text(client, '{"inputs": [1%s]}' % ("0" * 40))
    assert "without loss of precision" in text(client, '{"inputs": [1%s]}' % ("0" * 400))


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ({}, """JSON Value: {} When method is classify, key 'examples' is expected and was not found"""),
        ({"examples": 1}, """JSON Value: {"examples": 1} Expecting 'examples' value to be an list/array"""),
        ({"examples": []}, """JSON Value: {"examples": []} 'examples' value is an empty array"""),
        ({"context": [{}], "examples": [{}]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [[{}]]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"n": [10, None]}]}, "Feature: n has element with unexpected JSON type: Null"),
        ({"examples": [{"n": [10, {"a": 1}]}]}, "Feature: n has element with unexpected JSON type: Object"),
        ({"examples": [{"n": [[10], 20]}]}, "Feature: n has element with unexpected JSON type: Array"),
        ({"examples": [{"n": [10, 10.0]}]}, "Unexpected element type in feature: n expecting type: int64"),
        ({"examples": [{"n": ["a", True]}]}, "Unexpected element type in feature: n expecting type: bytes"),
        ({"examples": [{"n": [1.5, {"b64": "YQ=="}]}]}, "Unexpected element type in feature: n expecting type: float"),
        ({"examples": [{"n": 2**64 - 13}]}, "Feature: n has uint64 element. Only int64 is supported."),
        ({"examples": [{"n": 1e300}]}, "Cannot convert JSON value: 1e+300 to float without loss of precision."),
        ({"examples": [{"n": {"b64": "*"}}]}, "Unable to base64 decode"),
        (
            {"signature_name": [1], "examples": [{}]},
            """JSON Value: {"signature_name": [1], "examples": [{}]} not formatted correctly. """
            "'signature_name' key must be a string value.",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_examples_of_another_form(client, verb, examples, words):
    assert text(client, json.dumps(examples), f"half:{verb}") == words


def test_every_kind_of_feature(client):
    features = {
        "names": ["foo", {"b64": "aGVsbG8="}],
        "ratings": [8.0, float("nan"), float("inf"), 1e20, 100000000000000000000],
        "age": 20,
        "mixed": [1, True, False],
        "empty": [],
        "key with ünicode": "bar",
    }
    # Read whole before the model is looked for.
    status, answer = client.rest("nope:classify", json.dumps({"examples": [features], "context": {"query": "pizza"}}))
    assert (status, answer) == (404, {"error": "Servable not found for request: Latest(nope)"})
