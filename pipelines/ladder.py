"""Nielsen's ladder of MNIST networks: what his text reports for each rung, and what ours reach."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.recipes import Reported, list_recipes, load_recipe
from pipelines.results import ENSEMBLES, Result

RUNGS = (
    ("one hidden layer", "mnist_fc_faithful"),
    ("a convolution", "mnist_conv1_faithful"),
    ("two convolutions", "mnist_conv2_faithful"),
    ("ReLU and L2", "mnist_relu_faithful"),
    ("expanded data", "mnist_expanded_faithful"),
    ("dropout", "mnist_dropout_faithful"),
)
"""What each rung adds, and the recipe that trains it as the text does."""
TOP = ("mnist_dropout_faithful", "majority", 5)
"""The last rung, an ensemble: recipe, vote and number of members."""


@dataclass(frozen=True)
class Rung:
    """One network of the ladder; accuracies on the test images, percent."""

    title: str
    text: float
    """What the text reports."""
    ours: float | None = None
    """Mean over seeds; None where nothing is recorded."""
    spread: float | None = None
    """Standard deviation over seeds; None of a single run and of the ensemble."""
    best: float | None = None
    """Of the run with the best validation accuracy, which is how the text chooses."""


def ladder(results: Iterable[Result]) -> list[Rung]:
    """The rungs that have a recipe, lowest first, with the results of today's recipes."""
    found = [result for result in results if result.is_current and not result.settings]
    single = {result.recipe: result for result in found if not result.vote}
    papers = {name: load_recipe(name).paper for name in list_recipes()}
    rungs = [_rung(title, paper, single.get(name)) for title, name in RUNGS if (paper := papers.get(name))]
    top = [result for result in found if (result.recipe, result.vote, len(result.seeds)) == TOP]
    return [*rungs, _rung("vote of five", ENSEMBLES[TOP], next(iter(top), None))]


def _rung(title: str, paper: Reported, result: Result | None) -> Rung:
    if result is None:
        return Rung(title, paper.test_accuracy)
    return Rung(title, paper.test_accuracy, result.test_accuracy, result.standard_deviation, result.best)
