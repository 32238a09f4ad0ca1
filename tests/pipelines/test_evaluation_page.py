"""What a run's evaluation leaves in it, and the page."""

import json
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest

import zoo
from pipelines.datasets import Dataset, Split
from pipelines.evaluation import examine, record_evaluation
from pipelines.evaluation.page import render_page
from pipelines.evaluation.speed import measure_size, measure_speed
from pipelines.recipes import load_recipe
from zoo.anatomy import anatomy, totals

NAMES = ("<b>bold</b>", "a & b", "$x$", "d", "e", "f")
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(HTMLParser):
    """Collects a page's texts, and the addresses that it would load; fails where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.addresses, self.open, self.tags = [], [], [], set()
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def data():
    """Random images of six classes."""
    random = np.random.default_rng(7)
    splits = [Split(random.integers(0, 256, (40, 28, 28, 1)).astype(np.uint8), np.arange(40) % 6) for _ in range(3)]
    return Dataset("noise", *splits, NAMES, "0" * 64)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return zoo.create_model("mnist_cnn_relu", "serving", input_shape=(28, 28, 1), classes=6, filters=(4, 4))


class FakeRun:
    """Keeps what a run is told to record."""

    id = "a" * 32

    def __init__(self):
        self.tags = {"mlflow.source.git.commit": "b" * 40, "zoo.git_changed": "true"}
        self.metrics, self.texts, self.figures = {}, {}, {}

    def log_metrics(self, metrics):
        self.metrics.update(metrics)

    def log_text(self, text, path):
        self.texts[path] = text

    def log_figure(self, figure, path):
        self.figures[path] = figure


def test_a_run_records_the_test_split_and_a_page_that_needs_nothing_else(data, model):
    run, recipe = FakeRun(), load_recipe("digits_cnn").override({"description": "</pre><script>alert(1)</script>"})
    history = {"loss": [1.0], "accuracy": [0.5], "val_loss": [1.0], "val_accuracy": [0.5]}
    evaluation = record_evaluation(run, model, data, recipe, history)
    assert evaluation.split is data.test
    low, high = evaluation.accuracy_interval
    expected = {
        "test_accuracy": evaluation.accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_top5_accuracy": evaluation.top5_accuracy,
        "test_loss": evaluation.loss,
        "test_calibration_error": evaluation.calibration.error,
        "operations": totals(anatomy(model)).operations,
    }
    assert expected.items() <= run.metrics.items()
    assert set(run.metrics) - set(expected) == {"images_per_second", "latency_ms", "latency_p95_ms"}
    assert set(run.texts) == {"test_report.txt", "evaluation.html"}
    assert set(run.figures) == {f"test_{name}.png" for name in ("misclassified", "confusion_matrix", "calibration")}

    page = Reader(run.texts["evaluation.html"])
    text = "".join(page.texts)
    assert not {"script", "link", "b"} & page.tags
    assert len(page.addresses) == 4  # three figures and the learning curves
    assert all(address.startswith("data:image/png;base64,iVBOR") for address in page.addresses)
    assert "url(" not in run.texts["evaluation.html"]
    assert "@import" not in run.texts["evaluation.html"]
    for shown in (*NAMES, "a" * 32, f"{'b' * 40}, and changes since", "0" * 64, f"{100 * evaluation.accuracy:.2f} %"):
        assert shown in text
    assert "</pre><script>" in text  # as words


def test_of_very_many_classes_the_page_shows_the_worst(model):
    names = tuple(f"class {i}" for i in range(60))
    labels = np.arange(120) % 60
    split = Split(np.zeros((120, 28, 28, 1), np.uint8), labels)
    keras.utils.set_random_seed(2)
    wide = zoo.create_model("mnist_cnn_relu", "serving", input_shape=(28, 28, 1), classes=60, filters=(4, 4))
    findings = examine(wide, split, names, 0.0)
    page = render_page("title", "subtitle", findings, findings.evaluation.figures(), {}, None)
    assert "The 50 with the lowest F1, of 60." in page
    assert len(re.findall(r'<tr><th scope="row">class ', page)) == 50
    assert "Recipe" not in page


def test_few_examples_are_repeated_until_they_fill_a_batch(model):
    images = np.zeros((3, 28, 28, 1), np.uint8)
    speed = measure_speed(model, images, 8, 0.0)
    assert speed.batch_size == 8
    assert 0 < speed.latency_ms <= speed.latency_p95_ms
    assert 0 < speed.images_per_second < float("inf")


def test_a_layer_that_the_zoo_does_not_know_has_no_count_of_operations(model):
    image = keras.Input((28, 28, 1), name="image")
    strange = keras.Model(image, keras.layers.GaussianDropout(0.5)(keras.layers.Flatten()(image)))
    size = measure_size(strange)
    assert (size.parameters, size.operations) == (0, None)
    known = measure_size(model)
    assert (known.parameters, known.operations) == (model.count_params(), totals(anatomy(model)).operations)


def test_numbers_are_fit_for_json(data, model):
    numbers = examine(model, data.test, NAMES, 0.0).numbers()
    again = json.loads(json.dumps(numbers))
    assert again["examples"] == 40
    assert [scores["name"] for scores in again["classes"]] == list(NAMES)
