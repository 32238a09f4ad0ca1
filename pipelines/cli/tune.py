"""`zoo tune`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from pipelines.cli.console import complain, err, out, percent, print_json
from pipelines.cli.train import JsonOption, RecipeArgument, SetOption, resolve_recipe
from pipelines.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.journal import Journal
    from pipelines.recipes import Recipe
    from pipelines.tuning.plan import Plan
    from pipelines.tuning.role import Place
    from pipelines.tuning.search import Job, Search


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)


def tune(
    recipe: RecipeArgument,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many to train, the recipe as it stands among them. Default: 10.")
    ] = None,
    algorithm: Annotated[
        Literal["random", "bayesian", "hyperband", "grid"] | None,
        typer.Option(help="What chooses the settings. Default: random."),
    ] = None,
    objective: Annotated[str | None, typer.Option(help="The metric that decides. Default: val_accuracy.")] = None,
    assignments: SetOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the choice of settings. Default: 1.")] = None,
    seeds: Annotated[
        int, typer.Option(min=0, help="Train winner and recipe again with so many seeds each; 0 to leave that out.")
    ] = 3,
    time_limit: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Begin no trial later than this.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="EPOCHS", min=1, help="End a trial that has not got better for so long.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine that train at once.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each; by default the cores are shared out.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted search of this recipe, if there is one.")
    ] = False,
    role: Annotated[
        Literal["chief", "worker"] | None, typer.Option(help="Of this process in a search over several machines.")
    ] = None,
    chief: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of the chief. Also KERASTUNER_ORACLE_IP and …_PORT.")
    ] = None,
    worker_id: Annotated[
        str | None, typer.Option("--id", help="Of a worker, its own. Also KERASTUNER_TUNER_ID.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search over the fields in a recipe's `search:` block, each trial a run in MLflow.

    Validation decides. At the end the winner and the recipe as it stands are trained again with several seeds each, and
    the winner once more on all training images, ready for `zoo publish`. A search that was interrupted, even killed,
    goes on with --resume; RECIPE can then be its run's id, too.
    """
    from pipelines.tuning.role import find_role

    place = find_role(role, chief, worker_id)
    if place.role == "worker":
        _take_part(place, recipe, assignments, threads)
        return
    if place.role == "chief" and workers > 1:
        raise UsageError("--workers is for a search on one machine, and a chief waits for workers elsewhere.")
    asked = {"trials": trials, "algorithm": algorithm, "objective": objective, "seed": seed, "patience": patience}
    plan, journal = _plan(recipe, assignments, resume, asked)
    options: dict[str, Any] = {"journal": journal, "place": place, "workers": workers, "threads": threads}
    try:
        chosen = journal.recipe if journal else resolve_recipe(recipe, assignments)
        found = run_search(chosen, plan, **options, minutes=time_limit, seeds=seeds)
    except KeyboardInterrupt:
        err.print("[dim]the search goes on with the same command and --resume[/dim]")
        raise
    if as_json:
        print_json(_as_json(found))
    else:
        _say(found)
    if found.problem:
        problem = f"Winner and recipe could not be trained again: {found.problem}"
        if place.role != "chief":
            raise PipelineError(problem)
        # The search is over nevertheless: a chief that fails is started again by what keeps it running (compose's
        # on-failure), and would search anew.
        complain(problem)


def run_search(
    recipe: "Recipe",
    plan: "Plan",
    *,
    journal: "Journal | None" = None,
    place: "Place | None" = None,
    workers: int = 1,
    threads: int | None = None,
    minutes: float | None = None,
    seeds: int = 0,
) -> "Search":
    """A search whose progress is shown."""
    plan.check(recipe)
    what = f"{plan.trials} trials, {plan.algorithm}, for {plan.objective}, over {', '.join(recipe.search)}"
    going_on = f"going on with search {journal.run_id}: " if journal else ""
    err.print(f"[dim]{recipe.name}: {going_on}{what}[/dim]")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.cli.progress import TrainingProgress
    from pipelines.cli.tuning_view import SearchView
    from pipelines.tuning.parallel import as_chief, use_threads, with_workers
    from pipelines.tuning.search import alone, search

    conduct: Callable[[Job], None] = alone
    if place is not None and place.role == "chief":
        conduct = as_chief(place)
    elif workers > 1:
        conduct = with_workers(workers, threads)
    elif threads:
        use_threads(threads)

    view = SearchView(plan, list(recipe.search), workers)

    def progress(recipe: "Recipe", what: str) -> TrainingProgress:
        view.live.stop()  # the trials are over
        err.print(f"[dim]training {what}[/dim]")
        return TrainingProgress(what)

    with view:
        return search(
            recipe, plan, view, conduct=conduct, resume=journal, minutes=minutes, seeds=seeds, progress=progress
        )


def _plan(
    name: str, assignments: list[str] | None, resume: bool, asked: dict[str, Any]
) -> "tuple[Plan, Journal | None]":
    """What is to be done, and with `resume` the interrupted search that is gone on with, whose plan counts.

    `asked` are the plan's fields, None for those that were not named.
    """
    from pipelines.recipes import is_path
    from pipelines.tuning.plan import Plan, SearchFolder, interrupted_search

    if resume:
        from pipelines.tracking import tracking_uri

        try:
            recipe = resolve_recipe(name, assignments)
        except UsageError:
            if assignments or is_path(name):
                raise
            recipe = None  # the search's id, then
        journal = interrupted_search(recipe, name, tracking_uri())
        if journal is not None:
            return SearchFolder(journal.run_id).read()[1].extended(**asked), journal
        if recipe is None:
            raise UsageError(f"There is no interrupted search '{name}', and no recipe of that name.")
        err.print("[dim]there is no interrupted search of this recipe to go on with: searching anew[/dim]")
    return Plan(**{field: value for field, value in asked.items() if value is not None}), None


def _take_part(place: "Place", name: str, assignments: list[str] | None, threads: int | None) -> None:
    """Be a worker."""
    recipe = resolve_recipe(name, assignments)
    err.print(f"[dim]worker {place.worker} of the search at {place.host}:{place.port}[/dim]")
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.cli.tuning_view import TrialLines
    from pipelines.tuning.parallel import take_part, use_threads

    if threads:
        use_threads(threads)
    count = take_part(place, recipe, TrialLines)
    err.print(f"[dim]the search is over; this worker trained {count} trials[/dim]")


def _as_json(found: "Search") -> dict[str, Any]:
    result: dict[str, Any] = {
        "run_id": found.run_id,
        **asdict(found.plan),
        "trials": [asdict(trial) for trial in found.trials],
        "best": found.best.number,
        "recipe_file": str(found.winner_file),
    }
    confirmed = found.confirmation
    if confirmed:
        result |= {
            "winner": asdict(confirmed.winner) | {"mean": confirmed.winner.mean, "spread": confirmed.winner.spread},
            "recipe": asdict(confirmed.recipe) | {"mean": confirmed.recipe.mean, "spread": confirmed.recipe.spread},
            "verdict": confirmed.verdict,
            "final_run_id": confirmed.final_run_id,
            "final_test_accuracy": confirmed.final_test_accuracy,
            "version": confirmed.version,
        }
    return result


def _say(found: "Search") -> None:
    from pipelines.cli.tuning_view import shown, trials_table

    plan, best = found.plan, found.best
    worst = float("inf")
    ordered = sorted(found.trials, key=lambda t: worst if t.objective is None else -plan.sign * t.objective)
    table = trials_table(ordered, plan, list(found.fields), best=best)
    table.title = f"trials, by {plan.objective}"
    out.print(table)
    for trial in ordered:
        if trial.error:
            out.print(f"trial {trial.number} failed: {trial.error}", markup=False)
    out.print(f"best {plan.objective}   {shown(plan.objective, best.objective or 0.0)} (trial {best.number})")
    out.print(f"search run     {found.run_id}")
    out.print(f"winner         {found.winner_file}")
    confirmed = found.confirmation
    if confirmed is None:
        out.print(f"next           zoo train {found.winner_file}")
        return
    table = Table("trained again", "seeds", "test accuracy", title="winner and recipe")
    for name, seeds in (("the winner", confirmed.winner), ("the recipe as it stands", confirmed.recipe)):
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in seeds.test_accuracies)
        count = len(seeds.run_ids)
        spread = f" ± {100 * seeds.spread:.2f} %  ({each})" if count > 1 else " %"
        table.add_row(name, str(count), f"{100 * seeds.mean:.2f}{spread}")
    out.print(table)
    out.print(confirmed.verdict, markup=False)
    out.print(
        f"on all training images for {confirmed.final_recipe.epochs} epochs: test accuracy "
        f"{percent(confirmed.final_test_accuracy)}, run {confirmed.final_run_id}, version {confirmed.version}"
    )
    out.print(f"next           zoo publish {confirmed.final_run_id[:8]}")
    out.print(f"               zoo compare --search {found.run_id[:8]}")
