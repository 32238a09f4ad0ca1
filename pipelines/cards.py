"""A card for each network: where it comes from, what its layers cost, in what it differs from its paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zoo
from pipelines.recipes import Recipe, list_recipes, load_recipe
from pipelines.results import Result, read_results
from zoo.anatomy import LayerAnatomy, Totals, anatomy, group, totals

COLUMNS = ("layer", "output", "parameters", "connections", "multiply", "add", "sees")


@dataclass(frozen=True)
class Card:
    """A network of the zoo in its serving form, at its paper's shape and width."""

    spec: zoo.ModelSpec
    layers: list[LayerAnatomy]
    """Merged to the stages of the paper."""
    totals: Totals
    recipes: list[Recipe]
    """The built-in ones that train it."""
    results: list[Result]
    """What was measured with it."""


def make_cards(names: list[str]) -> list[Card]:
    """The cards of these networks. Raises ZooError for one that there is not."""
    specs = [zoo.get_spec(name) for name in names]
    recipes = [load_recipe(name) for name in list_recipes()]
    results = read_results()
    return [_make_card(spec, recipes, results) for spec in specs]


def _make_card(spec: zoo.ModelSpec, recipes: list[Recipe], results: list[Result]) -> Card:
    rows = anatomy(zoo.create_model(spec.name, "serving"))
    return Card(
        spec=spec,
        layers=group(rows, spec.layer_parameters),
        totals=totals(rows),
        recipes=[recipe for recipe in recipes if recipe.network.name == spec.name],
        results=[result for result in results if result.network == spec.name],
    )


def as_json(card: Card) -> dict[str, Any]:
    """Everything on the card, exact, for machines."""
    spec = card.spec
    return {
        "name": spec.name,
        "parameters": card.totals.parameters,
        "operations": card.totals.operations,
        "connections": card.totals.connections,
        "multiplications": card.totals.multiplications,
        "additions": card.totals.additions,
        "input": spec.input,
        "input_shape": spec.input_shape,
        "classes": spec.classes,
        "arguments": spec.arguments,
        "paper": vars(spec.paper),
        "divergences": spec.divergences,
        "recipes": [recipe.name for recipe in card.recipes],
        "results": [result.model_dump(mode="json") for result in card.results],
        "layers": [vars(row) | {"operations": row.operations} for row in card.layers],
    }


def layer_table(card: Card) -> tuple[list[str], list[list[str]]]:
    """The layers' table: its columns' heads, and the cells of every row, the totals' last.

    What the paper's own table prints stands in columns of its own. Multiplications and additions are rounded.
    """
    table = card.spec.paper.table
    kinds = ("parameters", "connections", "neurons", "operations")
    printed = [kind for kind in kinds if any(kind in row for row in table.values())]
    rows = [
        [row.name, _by(row.output_shape), *_counts(row), _by(row.receptive_field), *_printed(table, row.name, printed)]
        for row in card.layers
    ]
    rows.append(["total", "", *_counts(card.totals), "", *_printed(table, "total", printed)])
    return [*COLUMNS, *(f"paper: {kind}" for kind in printed)], rows


def _printed(table: Mapping[str, Mapping[str, str]], row: str, kinds: list[str]) -> list[str]:
    return [table.get(row, {}).get(kind, "") for kind in kinds]


def _counts(row: LayerAnatomy | Totals) -> list[str]:
    parameters = f"{row.parameters:,}" if row.parameters else f"{row.fixed_parameters} fixed"
    return [
        parameters if row.parameters or row.fixed_parameters else "",
        f"{row.connections:,}" if row.connections else "",
        in_units(row.multiplications),
        in_units(row.additions),
    ]


def in_units(count: int) -> str:
    """1,585,231,872 as `1.59 G`; nothing for 0."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * factor:
            return f"{count / factor:.3g}{unit}"
    return str(count) if count else ""


def facts(card: Card) -> list[tuple[str, str]]:
    """What the card says in sentences: a heading and its text, in order."""
    spec, paper = card.spec, card.spec.paper
    unit = "samples" if spec.input == "signal" else "pixels"
    found = [
        ("paper", f"{paper.citation}; {paper.section}."),
        ("input", f"`{spec.input}`, {_by(spec.input_shape)} {unit}; {spec.classes} classes"),
    ]
    if paper.test_accuracy is not None:
        found.append(("reported", f"{paper.test_accuracy:.2f} % test accuracy."))
    found += [("reported", sentence) for sentence in paper.reports]
    if paper.training_parameters:
        found.append(("training form", f"{paper.training_parameters:,} parameters with its auxiliary heads"))
    found += [("divergence", sentence) for sentence in spec.divergences]
    defaults = ", ".join(f"{name} = {value!r}" for name, value in spec.arguments.items())
    found.append(("arguments", defaults))
    found += [("recipe", f"`zoo train {recipe.name}` – {recipe.description}") for recipe in card.recipes]
    found += [("measured", result.sentence()) for result in card.results]
    return found


def to_markdown(card: Card) -> str:
    """The card as a section of a Markdown page."""
    lines = [f"## {card.spec.name}", ""]
    lines += [f"- **{heading}**: {text}" for heading, text in facts(card)]
    heads, rows = layer_table(card)
    lines += ["", _markdown_row(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
    lines += [_markdown_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def models_page(cards: list[Card]) -> str:
    """`docs/models.md`: an overview and every card."""
    head = """# Models

Written by `zoo models --markdown`; a test keeps it current. Counts are those of the serving form at the paper's shape.
A *connection* joins one input value, or the bias, to one output value. *Multiply* and *add* are one example's forward
pass; *sees* is the receptive field in the input. The paper's columns are what it prints.

| network | input | parameters | multiply | reported test accuracy |
|---|---|---:|---:|---:|
"""
    rows = [_markdown_row([f"[{row[0]}](#{row[0]})", *row[1:]]) for row in map(summary, cards)]
    return head + "\n".join(rows) + "\n\n" + "\n".join(map(to_markdown, cards))


def summary(card: Card) -> list[str]:
    """The card in one row: network, input, parameters, multiplications, reported accuracy."""
    accuracy = card.spec.paper.test_accuracy
    reported = "" if accuracy is None else f"{accuracy:.2f} %"
    spec, counted = card.spec, card.totals
    return [spec.name, _by(spec.input_shape), f"{counted.parameters:,}", in_units(counted.multiplications), reported]


def _by(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))


def _markdown_row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
