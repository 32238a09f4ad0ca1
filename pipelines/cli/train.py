"""`zoo train`."""

import statistics
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.console import err, out, percent, print_json

if TYPE_CHECKING:
    from pipelines.experiment import TrainedRun
    from pipelines.recipes import Recipe

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name (see `zoo recipes`) or file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Set a field of the recipe, as in optimizer.learning_rate=1e-3."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    recipe: RecipeArgument,
    assignments: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The (first) seed; by default the recipe's.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many times, with consecutive seeds.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run of this recipe and seed, if there is one.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe's network, evaluate it once on the test images and track everything in MLflow.

    A run that was interrupted, even killed, goes on with --resume: in the same MLflow run, to the weights that it would
    have had.
    """
    chosen = resolve_recipe(recipe, assignments, seed)
    runs = [train_once(chosen.override({"seed": chosen.seed + i}), resume) for i in range(seeds)]
    accuracies = [run.test_accuracy for run in runs]
    spread = statistics.stdev(accuracies) if seeds > 1 else None
    if as_json:
        print_json(
            {
                "recipe": chosen.name,
                "runs": [
                    {
                        "run_id": run.run_id,
                        "seed": run.recipe.seed,
                        "validation_accuracy": run.validation_accuracy,
                        "test_accuracy": run.test_accuracy,
                    }
                    for run in runs
                ],
                "mean_test_accuracy": statistics.mean(accuracies),
                "standard_deviation": spread,
            }
        )
        return
    if spread is not None:
        for run in runs:
            out.print(f"seed {run.recipe.seed}: test accuracy {percent(run.test_accuracy)}, run {run.run_id}")
        out.print(
            f"test accuracy   [bold]{100 * statistics.mean(accuracies):.2f} ± {100 * spread:.2f} %[/bold] "
            f"(mean and standard deviation of {seeds} seeds; worst {percent(min(accuracies))})"
        )
    else:
        out.print(f"test accuracy   [bold]{percent(accuracies[0])}[/bold]")
        out.print(f"run             {runs[0].run_id}")
    # By validation, which is what a choice may rest on.
    best = max(runs, key=lambda run: run.validation_accuracy)
    out.print(f"next            zoo publish {best.run_id[:8]}")


def resolve_recipe(name: str, assignments: list[str] | None, seed: int | None = None) -> "Recipe":
    """The recipe that the command's arguments mean."""
    from pipelines.recipes import load_recipe, parse_assignments

    values = parse_assignments(assignments or [])
    if seed is not None:
        values["seed"] = seed
    return load_recipe(name).override(values)


def train_once(recipe: "Recipe", resume: bool = False) -> "TrainedRun":
    """One tracked run with live progress."""
    err.print(f"[dim]{recipe.name}: {recipe.network.name} on {recipe.dataset.title}, seed {recipe.seed}[/dim]")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.cli.progress import TrainingProgress
    from pipelines.experiment import run_experiment
    from pipelines.tracking import interrupted_run

    interrupted = interrupted_run(recipe)
    if interrupted:
        epochs = f"after {max(interrupted.epochs(), default=0)} of {recipe.epochs} epochs"
        hint = "going on with it" if resume else "--resume would go on with it; training anew"
        err.print(f"[dim]run {interrupted.run_id} was interrupted {epochs}: {hint}[/dim]")
    elif resume:
        err.print("[dim]there is no interrupted run of this recipe and seed: training anew[/dim]")
    with TrainingProgress(recipe.name) as progress:
        return run_experiment(recipe, [progress], resume=resume)
