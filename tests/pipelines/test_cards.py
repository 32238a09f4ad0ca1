"""The cards of the networks: on the terminal, for machines, and as the page docs/models.md."""

import json
from pathlib import Path

import pytest

import zoo
from pipelines.cards import facts, in_units, layer_table, make_cards, models_page, to_markdown

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


@pytest.fixture(scope="module")
def cards():
    return {card.spec.name: card for card in make_cards(zoo.list_models())}


def test_the_page_is_current(cards):
    assert PAGE.read_text("utf-8") == models_page(list(cards.values())), "Run: zoo models --markdown > docs/models.md"


@pytest.mark.parametrize("name", zoo.list_models())
def test_a_card_says_all_that_the_spec_knows(cards, name):
    spec, text = zoo.get_spec(name), to_markdown(cards[name])
    for sentence in (spec.paper.citation, spec.paper.section, *spec.divergences, *spec.paper.reports):
        assert sentence in text
    for printed in spec.paper.table.values():
        assert all(number in text for number in printed.values())
    for stage, parameters in spec.layer_parameters.items():
        assert f"| {stage} |" in text
        assert f"| {parameters:,} |" in text
    assert "zoo train" in text


def test_the_table_of_lenet5_is_the_papers(cards):
    heads, rows = layer_table(cards["lenet5"])
    table = {row[0]: dict(zip(heads, row, strict=True)) for row in rows}
    assert table["c3"] == {
        "layer": "c3",
        "output": "10x10x16",
        "parameters": "1,516",
        "connections": "151,600",
        "multiply": "150 k",
        "add": "150 k",
        "sees": "14x14",
        "paper: parameters": "1,516",
        "paper: connections": "151,600",
    }
    assert table["output"]["parameters"] == "840 fixed"
    assert (table["total"]["parameters"], table["total"]["connections"]) == ("60,000", "340,908")


def test_a_network_without_paper_counts_has_no_column_for_them(cards):
    heads, _ = layer_table(cards["speech_conv1d"])
    assert not [head for head in heads if head.startswith("paper")]
    assert ("input", "`signal`, 1000x1 samples; 2 classes") in facts(cards["speech_conv1d"])


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (999, "999"), (1_000, "1 k"), (999_499, "999 k"), (999_600, "1 M"), (1_585_231_872, "1.59 G")],
)
def test_units(count, text):
    assert in_units(count) == text


def test_json_has_what_machines_are_promised(zoo_command):
    status, out, _ = zoo_command("models", "--json")
    assert status == 0
    found = {model["name"]: model for model in json.loads(out)}
    assert (
        set(found)
        == set(zoo.list_models())
        >= {
            *("mnist_fc", "mnist_cnn_conv1", "mnist_cnn_conv2", "mnist_cnn_relu", "mnist_cnn_dropout"),
            *("lenet5", "lenet5_modern", "alexnet", "alexnet_small", "inception_v1", "inception_v1_small"),
            *("network_in_network", "speech_conv1d"),
        }
    )
    assert found["lenet5"]["parameters"] == found["lenet5"]["paper"]["parameters"] == 60_000
    assert found["alexnet"]["parameters"] == 60_965_224
    assert found["inception_v1"]["parameters"] == 6_998_552
    assert found["network_in_network"]["parameters"] == 966_986
    for model in found.values():
        assert model["operations"] == sum(layer["operations"] for layer in model["layers"]) > model["parameters"] / 10
        assert model["input_shape"] == list(zoo.get_spec(model["name"]).input_shape)
        assert model["paper"]["citation"]


def test_a_name_shows_the_card_and_a_pattern_the_list(zoo_command):
    status, card, _ = zoo_command("models", "lenet5")
    assert status == 0
    for expected in ("LeCun", "divergence", "1,516", "151,600", "zoo train lenet5", "340,908"):
        assert expected in card
    _, listed, _ = zoo_command("models", "lenet*")
    assert "lenet5_modern" in listed
    assert "divergence" not in listed


def test_an_unknown_name_is_one_sentence(zoo_command):
    status, _, err = zoo_command("models", "lenet")
    assert status == 2
    assert "Unknown network 'lenet'; did you mean lenet5?" in err
