"""`zoo models` and `zoo recipes`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pipelines.cli.console import err, out, print_json
from pipelines.cli.train import JsonOption

if TYPE_CHECKING:
    from pipelines.cards import Card


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(models)
    app.command()(recipes)


def models(
    pattern: Annotated[str, typer.Argument(metavar="[NAME]", help="A name, or a pattern such as 'mnist_*'.")] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/models.md.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the networks of the zoo, or show the card of one: layers, costs, paper, divergences."""
    from serving.quiet import import_tensorflow

    with err.status("[dim]building the networks[/dim]"):
        import_tensorflow()
        import zoo
        from pipelines.cards import as_json as card_as_json
        from pipelines.cards import make_cards, models_page

        cards = make_cards(zoo.list_models(pattern) or [pattern])
    if as_json:
        print_json([card_as_json(card) for card in cards])
    elif markdown:
        out.print(models_page(cards), markup=False, end="")
    elif pattern == cards[0].spec.name:
        _print_card(cards[0])
    else:
        from pipelines.cards import summary

        table = Table("network", "input", *_right("parameters", "multiply"), "test accuracy in the paper")
        for card in cards:
            table.add_row(*summary(card))
        out.print(table)
        out.print("[dim]zoo models NAME shows a network's card.[/dim]")


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's file.")] = None, as_json: JsonOption = False
) -> None:
    """List the built-in recipes, or show one."""
    from pipelines.recipes import list_recipes, load_recipe, recipe_text

    found = [load_recipe(recipe) for recipe in ([name] if name else list_recipes())]
    if as_json:
        print_json([recipe.model_dump(mode="json") for recipe in found])
        return
    if name:
        out.print(recipe_text(name), markup=False, end="")
        return
    table = Table(Column("recipe", no_wrap=True), Column("dataset", no_wrap=True), "epochs", "what it is")
    table.box = box.SIMPLE_HEAD
    for recipe in found:
        table.add_row(recipe.name, recipe.dataset.name, str(recipe.epochs), recipe.description)
    out.print(table)
    out.print("[dim]zoo recipes NAME shows a recipe.[/dim]")


def _print_card(card: "Card") -> None:
    from pipelines.cards import facts, layer_table

    out.print(f"[bold]{card.spec.name}[/bold]\n")
    sentences = Table.grid(Column(style="dim", no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
    last = ""
    for heading, text in facts(card):
        sentences.add_row(heading if heading != last else "", escape(text.replace("`", "")))
        last = heading
    out.print(sentences, soft_wrap=False)
    heads, rows = layer_table(card)
    words = [max(head.split(), key=len) for head in heads]
    longest = [max(map(len, column)) for column in zip(words, *rows, strict=True)]
    columns = [
        Column(head, justify="left" if i < 2 else "right", min_width=width)
        for i, (head, width) in enumerate(zip(heads, longest, strict=True))
    ]
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1], style="bold")
    # At least as wide as its numbers: a narrow terminal breaks lines rather than numbers.
    Console(highlight=False, width=max(out.width, sum(longest) + 3 * len(longest))).print(table)


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
