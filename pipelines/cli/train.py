"""`zoo train`."""

import statistics
from dataclasses import asdict, dataclass
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
    have had. RECIPE can then be that run's id, too. A seed whose run is finished is not trained again.
    """
    of_run = _interrupted_recipe(recipe) if resume and not assignments and seed is None else None
    chosen = of_run or resolve_recipe(recipe, assignments, seed)
    runs = [_outcome(chosen.override({"seed": chosen.seed + i}), resume) for i in range(seeds)]
    accuracies = [run.test_accuracy for run in runs]
    spread = statistics.stdev(accuracies) if seeds > 1 else None
    if as_json:
        print_json(
            {
                "recipe": chosen.name,
                "runs": [asdict(run) for run in runs],
                "mean_test_accuracy": statistics.mean(accuracies),
                "standard_deviation": spread,
            }
        )
        return
    if spread is not None:
        for run in runs:
            out.print(f"seed {run.seed}: test accuracy {percent(run.test_accuracy)}, run {run.run_id}")
        out.print(
            f"test accuracy   [bold]{100 * statistics.mean(accuracies):.2f} ± {100 * spread:.2f} %[/bold] "
            f"(mean and standard deviation of {seeds} seeds; worst {percent(min(accuracies))})"
        )
    else:
        out.print(f"test accuracy   [bold]{percent(accuracies[0])}[/bold]")
        out.print(f"run             {runs[0].run_id}")
    out.print(f"next            zoo publish {_chosen(runs).run_id[:8]}")


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its numbers, without the network and the data, which several seeds would pile up."""

    run_id: str
    seed: int
    validation_accuracy: float | None
    """None where no images are held out."""
    test_accuracy: float


def _chosen(runs: list[Outcome]) -> Outcome:
    """The best run by validation, which is what a choice may rest on; without it the first."""
    return max(runs, key=lambda run: -1.0 if run.validation_accuracy is None else run.validation_accuracy)


def _outcome(recipe: "Recipe", resume: bool) -> Outcome:
    """Train once; with `resume`, a finished run of the same recipe, seed, data and commit is taken as it is."""
    if resume:
        from serving.quiet import import_tensorflow

        import_tensorflow()
        from pipelines.experiment import finished_run
        from pipelines.tracking import interrupted_run, validation_accuracy
        from pipelines.training import load_for

        done = None if interrupted_run(recipe) else finished_run(recipe, load_for(recipe).digest)
        if done:
            run_id = done.info.run_id
            err.print(f"[dim]{recipe.name}, seed {recipe.seed}: run {run_id} is finished already[/dim]")
            return Outcome(run_id, recipe.seed, validation_accuracy(done, recipe), done.data.metrics["test_accuracy"])
    run = train_once(recipe, resume)
    import keras

    keras.backend.clear_session()
    return Outcome(run.run_id, recipe.seed, run.validation_accuracy, run.test_accuracy)


def _interrupted_recipe(reference: str) -> "Recipe | None":
    """The recipe of an interrupted run that is named by its id or the start of it."""
    from pipelines.journal import journals

    found = [journal for journal in journals() if len(reference) >= 4 and journal.run_id.startswith(reference)]
    return found[0].recipe if len(found) == 1 else None


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
        err.print("[dim]there is no run of this recipe and seed to go on with: training anew[/dim]")
    with TrainingProgress(recipe.name) as progress:
        return run_experiment(recipe, [progress], resume=resume)
