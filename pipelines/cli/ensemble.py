"""`zoo ensemble`."""

from typing import Annotated, Literal

import typer

from pipelines.cli.console import err, out, percent, print_json
from pipelines.cli.train import JsonOption

SAYS = {
    "load": "loading the members",
    "validate": "asking them about the validation images",
    "test": "evaluating the ensemble on the test images",
    "keep": "keeping it as a run",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ensemble)


def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Two or more runs; or one recipe, with --seeds.")],
    seeds: Annotated[int | None, typer.Option(min=2, help="The recipe's latest runs, of this many seeds.")] = None,
    vote: Annotated[
        Literal["mean", "majority"], typer.Option(help="How their answers become one; a tie of votes is the mean's.")
    ] = "mean",
    name: Annotated[str | None, typer.Option(help="Of the ensemble; by default RECIPE_ensemble.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Combine several runs into one network, evaluate it on the test images and track it as a run."""
    from serving.quiet import import_tensorflow

    import_tensorflow()
    from pipelines.ensembling import find_members, make_ensemble

    members = find_members(runs, seeds)
    made = make_ensemble(members, vote, name, on_step=lambda step: err.print(f"[dim]{SAYS[step]}[/dim]"))
    low, high = made.evaluation.accuracy_interval
    accuracies = [member.data.metrics.get("test_accuracy") for member in members]
    if as_json:
        print_json(
            {
                "name": made.recipe.name,
                "run_id": made.run_id,
                "vote": vote,
                "members": [
                    {"run_id": run_id, "test_accuracy": accuracy}
                    for run_id, accuracy in zip(made.member_ids, accuracies, strict=True)
                ],
                "validation_accuracy": made.validation_accuracy,
                **{f"test_{metric}": value for metric, value in made.evaluation.metrics().items()},
            }
        )
        return
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    out.print(f"ensemble        [bold]{made.recipe.name}[/bold], {vote} of {len(members)}")
    out.print(
        f"test accuracy   [bold]{percent(made.evaluation.accuracy)}[/bold] ({100 * low:.2f} to {100 * high:.2f} %)"
    )
    if known:
        out.print(f"members         {percent(min(known))} to {percent(max(known))}")
    out.print(f"run             {made.run_id}")
    out.print(f"next            zoo publish {made.recipe.name}")
