"""What a name on the command line stands for: a run, a network of the zoo, a recipe, or the last two at once."""

import difflib
from dataclasses import dataclass
from functools import cached_property

import keras
from mlflow.entities import Run

import zoo
from pipelines.datasets import Dataset, load_dataset
from pipelines.datasets.arrays import data_folder
from pipelines.errors import UsageError
from pipelines.recipes import Recipe, is_path, list_recipes, load_recipe
from pipelines.tracking import dataset_of, find_run, recipe_of


@dataclass(frozen=True)
class Reference:
    """A run and its recipe; or else the untrained network, the recipe, or both, that a name belongs to."""

    text: str
    """As it was given."""
    run: Run | None = None
    recipe: Recipe | None = None
    network: str | None = None
    """A name in the zoo; of a run, what its recipe says."""

    @property
    def name(self) -> str:
        """For folders: the name, or of a run the recipe's and the start of the run's id."""
        if self.run and self.recipe:
            return f"{self.recipe.name}-{self.run.info.run_id[:8]}"
        return self.recipe.name if self.recipe else self.text

    @property
    def title(self) -> str:
        """For people: the same."""
        if self.run and self.recipe:
            return f"{self.recipe.name} (run {self.run.info.run_id[:8]})"
        return self.name

    @property
    def why_no_network(self) -> str:
        """The sentence for one who asks for the network of a recipe."""
        recipe = self.recipe
        if recipe is None:
            return f"'{self.text}' names no network."
        if recipe.name != self.text:
            return f"'{self.text}' is a recipe's file; name a run of it, or a network, for a network's pictures."
        return f"The recipe '{recipe.name}' has no finished run; run zoo train {recipe.name} first."

    @cached_property
    def data(self) -> Dataset:
        """The dataset of the recipe, loaded once.

        Raises PipelineError where it is not there, and for a run whose dataset is another now.
        """
        if self.recipe is None:
            raise UsageError(f"'{self.text}' is no recipe and names no dataset.")
        return dataset_of(self.run, self.recipe) if self.run else load_dataset(**self.recipe.dataset.options)

    def check_no_download(self) -> None:
        """Raise UsageError where the dataset of a recipe without a run may have to be downloaded."""
        if self.run or self.recipe is None or not self.recipe.augmentation:
            return
        name, folder = self.recipe.dataset.name, data_folder()
        if hasattr(keras.datasets, name) and not (folder and (folder / f"{name}.npz").is_file()):
            raise UsageError(
                f"{name}.npz is not in ZOO_DATA_DIR and may have to be downloaded; --picture augmentation does that."
            )


def find_reference(text: str, *, fresh: bool = False) -> Reference:
    """What `text` stands for: a recipe's file by its path, a run, else a network of the zoo and a built-in recipe.

    A run is named by its id, its first characters, or its recipe for the latest one; none is looked for if `fresh`.
    Raises UsageError or ZooError where there is nothing of that name.
    """
    if is_path(text):
        return Reference(text, recipe=load_recipe(text))
    networks, recipes = zoo.list_models(), list_recipes()
    if not fresh:
        try:
            run = find_run(text, "train")
        except UsageError:
            if text not in networks and text not in recipes:
                near = difflib.get_close_matches(text, [*networks, *recipes], n=1)
                if not near:
                    raise
                raise UsageError(f"There is no network, run or recipe '{text}'; did you mean '{near[0]}'?") from None
        else:
            recipe = recipe_of(run)
            return Reference(text, run, recipe, recipe.network.name)
    if text not in networks and text not in recipes:
        zoo.get_spec(text)  # which says what is near
    recipe_there = load_recipe(text) if text in recipes else None
    return Reference(text, recipe=recipe_there, network=text if text in networks else None)
