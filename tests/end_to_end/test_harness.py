"""To register a network is to test it: pytest runs here on a house with networks that it did not have before."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[2]
HARNESS = ["tests/zoo/test_models.py", "tests/end_to_end/test_networks.py"]

PLUGIN = """
import dataclasses
import functools

import keras

import zoo
from zoo import registry


def toy(*, name, input_shape, classes, units=5):
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Rescaling(1 / 255, name="scale")(image)
    x = keras.layers.Dense(units, name="hidden")(keras.layers.Flatten(name="flatten")(x))
    return keras.Model(image, keras.layers.Dense(classes, dtype="float32", name="scores")(x), name=name)


facts = dict(
    paper=zoo.Paper("Nobody. No paper", "nowhere", parameters=97),
    input_shape=(4, 4, 1), classes=2,
    layer_parameters={"hidden": 85, "scores": 12}, divergences=("None.",),
)
zoo.register_model("toy", **facts)(toy)
# As if somebody had changed a number of filters in the file.
lenet5 = zoo.get_spec("lenet5")
wider = functools.partial(lenet5.builder, filters=(6, 17, 120))
registry._specs["lenet5"] = dataclasses.replace(lenet5, builder=wider)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each test of the harness came to, by (test, network)."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "new_networks.py").write_text(PLUGIN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    environment.pop("PYTEST_CURRENT_TEST", None)
    report = folder / "report.xml"
    chosen = ["-p", "new_networks", "-k", "(toy or lenet5 or mnist_fc) and not modern and not recipe_builds"]
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *chosen, *HARNESS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, parameters = case.get("name").partition("[")
        network = parameters.rstrip("]")
        failure = case.find("failure")
        found[test, *network.split("-", 1)] = None if failure is None else failure.text
    return found


def of(outcomes, network):
    """The outcomes of one network, by test and other parameters."""
    return {(key[0], *key[2:]): outcome for key, outcome in outcomes.items() if key[1] == network}


def test_the_whole_harness_runs_on_a_network_that_was_only_registered(outcomes):
    assert "toy" not in zoo.list_models()
    toy = of(outcomes, "toy")
    assert set(toy) == set(of(outcomes, "mnist_fc"))
    assert len(toy) >= 14


def test_a_sound_network_passes_all_but_what_asks_for_its_files(outcomes):
    failures = {key[0]: text for key, text in of(outcomes, "toy").items() if text}
    golden = failures.pop("test_scores_are_the_golden_ones")
    assert "toy has no golden scores yet: run this test with ZOO_WRITE_GOLDEN=1" in golden
    assert set(failures) == {"test_every_network_has_a_recipe"}
    for text in failures.values():
        assert "The network toy has no built-in recipe; add pipelines/recipes/toy.yaml" in text


def test_a_changed_number_of_filters_fails(outcomes):
    failed = {key[0] for key, text in of(outcomes, "lenet5").items() if text}
    assert {
        "test_parameters_equal_the_papers",
        "test_connections_equal_the_papers",
        "test_what_the_paper_prints_otherwise_is_a_divergence",
    } <= failed


def test_networks_that_nobody_touched_pass(outcomes):
    assert not [key for key, text in of(outcomes, "mnist_fc").items() if text]
