"""`zoo tune`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.train import JsonOption, RecipeArgument, SetOption, resolve_recipe

if TYPE_CHECKING:
    from pipelines.recipes import Recipe
    from pipelines.tuning import Search, Trial


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)


def tune(
    recipe: RecipeArgument,
    trials: Annotated[int, typer.Option(min=1, help="How many settings to try.")] = 10,
    assignments: SetOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of settings.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Search over the fields in a recipe's `search:` block, each trial a run in MLflow."""
    found = run_search(resolve_recipe(recipe, assignments), trials, seed)
    if as_json:
        print_json(
            {
                "run_id": found.run_id,
                "trials": [vars(trial) for trial in found.trials],
                "best": found.best.number,
                "recipe_file": str(found.winner_file),
            }
        )
        return
    out.print(_table(found))
    out.print(
        f"best validation accuracy   {percent(found.best.validation_accuracy or 0.0)} (trial {found.best.number})"
    )
    out.print(f"search run                 {found.run_id}")
    out.print(f"next                       zoo train {found.winner_file}")


def run_search(recipe: "Recipe", trials: int, seed: int) -> "Search":
    """A search that prints a line for each trial as it ends."""
    err.print(f"[dim]{recipe.name}: {trials} trials over {', '.join(recipe.search) or 'nothing'}[/dim]")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.tuning import search

    best = 0.0

    def tell(trial: "Trial") -> None:
        nonlocal best
        if trial.validation_accuracy is None:
            err.print(f"trial {trial.number} of {trials}: failed, {trial.error}", markup=False)
            return
        best = max(best, trial.validation_accuracy)
        err.print(
            f"trial {trial.number} of {trials}: validation accuracy {percent(trial.validation_accuracy)}, "
            f"best so far {percent(best)}"
        )

    return search(recipe, trials, seed, tell)


def _table(found: "Search") -> Table:
    """The trials, best first; a column for each field that was searched."""
    fields = list(found.best.settings)
    last = [name.rpartition(".")[2] for name in fields]
    # In full only where the last part alone would not tell: a table has to fit into a terminal.
    heads = [part if last.count(part) == 1 else name for name, part in zip(fields, last, strict=True)]
    table = Table("trial", "accuracy", *(Column(head, overflow="fold") for head in heads), Column("run", no_wrap=True))
    table.title = "trials, by validation accuracy"
    for trial in sorted(found.trials, key=lambda t: -(t.validation_accuracy or 0.0)):
        score = "failed" if trial.validation_accuracy is None else percent(trial.validation_accuracy)
        style = "bold" if trial is found.best else None
        settings = [_short(trial.settings[name]) for name in fields]
        table.add_row(str(trial.number), score, *settings, trial.run_id[:8], style=style)
    return table


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
