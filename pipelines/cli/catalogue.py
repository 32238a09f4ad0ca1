"""`zoo models` and `zoo recipes`."""

from typing import Annotated

import typer
from rich.table import Table

from pipelines.cli.console import out, print_json
from pipelines.cli.train import JsonOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(models)
    app.command()(recipes)


def models(
    pattern: Annotated[str, typer.Argument(help="A name, or a pattern such as 'mnist_*'.")] = "*",
    as_json: JsonOption = False,
) -> None:
    """List the networks of the zoo."""
    from serving.quiet import import_tensorflow

    import_tensorflow()
    import zoo

    specs = [zoo.get_spec(name) for name in zoo.list_models(pattern)] or [zoo.get_spec(pattern)]
    if as_json:
        print_json(
            [
                {
                    "name": spec.name,
                    "parameters": _parameters(spec.name),
                    "input_shape": spec.input_shape,
                    "classes": spec.classes,
                    "paper": vars(spec.paper),
                    "divergences": spec.divergences,
                }
                for spec in specs
            ]
        )
        return
    table = Table("network", "input", "parameters", "test accuracy in the paper")
    for spec in specs:
        accuracy = "" if spec.paper.test_accuracy is None else f"{spec.paper.test_accuracy:.2f} %"
        shape = "x".join(map(str, spec.input_shape))
        table.add_row(spec.name, shape, f"{_parameters(spec.name):,}", accuracy)
    out.print(table)


def recipes(as_json: JsonOption = False) -> None:
    """List the built-in recipes."""
    from pipelines.recipes import list_recipes, load_recipe

    found = [load_recipe(name) for name in list_recipes()]
    if as_json:
        print_json([recipe.model_dump(mode="json") for recipe in found])
        return
    table = Table("recipe", "network", "dataset", "epochs", "what it is")
    for recipe in found:
        table.add_row(recipe.name, recipe.network.name, recipe.dataset.name, str(recipe.epochs), recipe.description)
    out.print(table)


def _parameters(name: str) -> int:
    """Trainable parameters of a network's serving form at its paper's shape."""
    import math

    import zoo

    return sum(math.prod(weight.shape) for weight in zoo.create_model(name, "serving").trainable_weights)
