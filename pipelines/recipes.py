"""The typed recipe: everything that decides a training run, in one YAML file.

Built-in recipes lie in `recipes/`; a recipe of one's own is named by its path. Any field can be set from outside by
its dotted name (`optimizer.learning_rate`, `augmentation.0.degrees`), which is also how a search names what it tunes.
"""

import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UsageError
from pipelines.fields import flatten, set_field
from pipelines.settings.augmentation import AugmentationStep
from pipelines.settings.data import DatasetChoice
from pipelines.settings.search import Space, check_spaces, contexts, described, duplicate, identity
from pipelines.settings.strict import Strict
from pipelines.settings.training import (
    MOST,
    Constant,
    Cosine,
    EarlyStopping,
    Optimizer,
    Plateau,
    Regularization,
    Schedule,
)

BUILT_IN = Path(__file__).with_name("recipes")
REMARKS = {"description", "search", "paper", "divergences", "seeds"}
"""Fields that decide nothing in training."""


class Network(Strict):
    """A network of the zoo and its own arguments."""

    name: str = Field(pattern=r"^\w+$")
    arguments: dict[str, Any] = Field({})


class Reported(Strict):
    """What the paper reports for this recipe."""

    test_accuracy: float = Field(description="percent")
    source: str


class Recipe(Strict):
    """Everything that decides a training run."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="also the registered and the served model's")
    description: str = ""
    network: Network
    dataset: DatasetChoice
    augmentation: list[AugmentationStep] = Field([])
    optimizer: Optimizer
    schedule: Schedule = Constant()
    loss: Literal["crossentropy", "quadratic", "map"] = "crossentropy"
    regularization: Regularization = Regularization()
    epochs: int = Field(gt=0, le=MOST, description="at most, with early_stopping")
    early_stopping: EarlyStopping | None = None
    keep: Literal["last", "best"] = Field(
        "last", description="the weights after the last epoch, or after the latest with the best validation accuracy"
    )
    batch_size: int = Field(gt=0, le=MOST, description="images per step")
    shuffle: Literal["each_epoch", "once", "never"] = Field(
        "each_epoch", description="when the training images get a new random order; never: in the dataset's own"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    seed: int = Field(1, ge=0, lt=2**31)
    paper: Reported | None = None
    divergences: list[str] = Field([], description="what the paper does and this recipe does not, a sentence each")
    seeds: int = Field(3, ge=0, description="runs that make its result: what `zoo reproduce` trains; 0 for none")
    search: dict[str, Space] = Field({}, description="what `zoo tune` varies: fields by their dotted names")

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        asking = {
            "keep: best": self.keep == "best",
            "early_stopping": self.early_stopping is not None,
            "schedule: plateau": isinstance(self.schedule, Plateau),
        }
        needing = [field for field, asked in asking.items() if asked]
        if self.dataset.validation == 0 and needing:
            raise ValueError(
                f"holds no images out for validation (dataset.validation is 0), which {needing[0]} needs; hold some "
                "out, or do without it"
            )
        horizon = self.schedule.epochs if isinstance(self.schedule, Cosine) else None
        if horizon is not None and horizon < self.epochs:
            raise ValueError(
                f"has a bad field 'schedule.epochs': the cosine falls to zero in {horizon} epochs, and the run has "
                f"{self.epochs}; expected as many or more"
            )
        return self

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """The recipe with some fields, by their dotted names, set to other values. Raises UsageError."""
        fields = self.model_dump(mode="json")
        for field, value in values.items():
            set_field(fields, field, value, self.name)
        return _validated(fields, self.name)

    def check_search(self) -> None:
        """Raise UsageError where `search` contradicts itself, names a field that the recipe does not have, or gives
        one a value that it cannot take in the trials that vary it."""
        try:
            check_spaces(self.search)
        except ValueError as error:
            raise UsageError(f"The recipe {self.name} {error}.") from error
        for field, space in self.search.items():
            for context in contexts(self.search, field):
                tried = [identity(self._tried({**context, field: value}).flat()) for value in space.probes()]
                again = duplicate(tried)
                if again is not None:
                    what = described({field: space.probes()[again]})
                    raise UsageError(f"The recipe {self.name} searches over '{field}', where {what} is there twice.")

    def _tried(self, settings: dict[str, Any]) -> "Recipe":
        try:
            return self.override({**settings, "search": {}})
        except UsageError as error:
            with_them = f"With {described(settings)} from its search block"
            raise UsageError(f"{with_them}, {str(error).replace('The', 'the', 1)}") from error

    def flat(self) -> dict[str, Any]:
        """Every field that decides a run by its dotted name, in the recipe's order."""
        return flatten(self.model_dump(mode="json", exclude=REMARKS))

    def to_yaml(self) -> str:
        """The recipe as a file that `load_recipe` reads."""
        stream = io.StringIO()
        yaml = YAML()
        yaml.default_flow_style = None  # lists of numbers on one line
        # Defaults too: a run's recipe must mean the same when they have changed.
        yaml.dump(self.model_dump(mode="json", exclude_none=True), stream)
        return stream.getvalue()


def list_recipes() -> list[str]:
    """Names of the built-in recipes."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """A built-in recipe by name, or one's own by its path (`…/mine.yaml`). Raises UsageError."""
    recipe = recipe_from_yaml(recipe_text(name), name, default_name=Path(name).stem if is_path(name) else name)
    recipe.check_search()
    return recipe


def recipe_text(name: str) -> str:
    """A recipe's file as it stands there, comments included. Raises UsageError."""
    by_path = is_path(name)
    path = Path(name) if by_path else BUILT_IN / f"{name}.yaml"
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if by_path:
            raise UsageError(f"There is no recipe file '{name}'.") from None
        near = difflib.get_close_matches(name, list_recipes(), n=1)
        hint = (
            f"did you mean '{near[0]}'?" if near else f"there are {', '.join(list_recipes())}; or give a file's path."
        )
        raise UsageError(f"Unknown recipe '{name}'; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe file '{name}' cannot be read: {error}.") from error


def is_path(name: str) -> bool:
    """Whether a recipe is named by its file's path, and not as a built-in one."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def recipe_from_yaml(text: str, where: str, default_name: str | None = None) -> Recipe:
    """The recipe in a YAML text; `where` names it in a UsageError."""
    fields = parse_yaml(text, f"The recipe {where}")
    if not isinstance(fields, dict):
        raise UsageError(f"The recipe {where} holds no fields; expected YAML like `network: {{name: mnist_cnn_relu}}`.")
    return _validated({"name": default_name, **fields} if default_name else fields, where)


def parse_yaml(text: str, where: str) -> Any:
    """A YAML 1.2 value (so that 1e-3 is a number and `no` a word). `where` names it in a UsageError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{where}{line} is no YAML: {error.problem or error.context}.") from error
    except (YAMLError, ValueError) as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}.") from error


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["optimizer.learning_rate=1e-3"]` as a mapping from dotted names to values. Raises UsageError."""
    values = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals or not field:
            raise UsageError(f"--set '{assignment}' is no assignment; expected FIELD=VALUE, as in --set epochs=3.")
        values[field.strip()] = parse_yaml(text, f"--set {field}")
    return values


def _validated(fields: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise UsageError(_first_sentence(error, fields, where)) from error


def _first_sentence(error: ValidationError, fields: dict[str, Any], where: str) -> str:
    """The first of pydantic's complaints, as one sentence that names the field."""
    first = error.errors()[0]
    kind, parts, context = first["type"], _parts(first["loc"], fields), first.get("ctx", {})
    field = ".".join(map(str, [*parts, first["loc"][-1]] if kind == "missing" else parts))
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if kind.startswith("union_tag"):  # of two kinds of steps or schedules, one field says which
        field += f".{context['discriminator']}".replace("'", "")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(parts[-1]), Recipe.model_fields, n=1)
        hint = f"; did you mean '{near[0]}'" if near and len(parts) == 1 else ""
        sentence = f"has an unknown field '{field}'{hint}"
    elif kind in ("missing", "union_tag_not_found"):
        sentence = f"lacks the field '{field}'"
    elif kind == "value_error" and not first["loc"]:  # of several fields together, which the message names
        sentence = message
    elif kind == "union_tag_invalid":
        sentence = f"has a bad field '{field}': '{context['tag']}' is none of {context['expected_tags']}"
    else:
        sentence = f"has a bad field '{field}': {message}, received {first['input']!r}"
    return " ".join(f"The recipe {where} {sentence}.".split())


def _parts(location: tuple[int | str, ...], fields: Any) -> list[int | str]:
    """The parts of a location that the file has: pydantic puts a union's branch (`rotation`, `Range`) between them."""
    parts, node = [], fields
    for part in location:
        in_list = isinstance(node, list) and isinstance(part, int) and part < len(node)
        if in_list or (isinstance(node, dict) and part in node):
            node = node[part]
            parts.append(part)
    return parts
