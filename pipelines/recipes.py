"""The typed recipe: everything that decides a training run, in one YAML file.

Built-in recipes lie in `recipes/`; a recipe of one's own is named by its path. Any field can be set from outside by
its dotted name (`optimizer.learning_rate`, `augmentation.0.degrees`), which is also how a search names what it tunes.
"""

import difflib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UsageError
from pipelines.fields import flatten, set_field

BUILT_IN = Path(__file__).with_name("recipes")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Network(_Strict):
    """A network of the zoo and its own arguments."""

    name: str
    arguments: dict[str, Any] = {}


Pixels = Annotated[int, Field(gt=0)]


class DatasetChoice(_Strict):
    """A dataset and how many of its training images are held out for validation."""

    name: str
    validation: int | None = Field(None, gt=0, description="images; without it the dataset's usual number")
    path: str | None = Field(None, min_length=1, description="of a folder, below ZOO_DATA_DIR or the working directory")
    image_size: tuple[Pixels, Pixels] | None = Field(None, description="height and width of a folder's images")
    channels: Literal[1, 3] | None = Field(None, description="of a folder's images; without it 3")

    @model_validator(mode="after")
    def _fits_name(self) -> "DatasetChoice":
        given = [field for field in ("path", "image_size", "channels") if getattr(self, field) is not None]
        if self.name != "folder" and given:
            raise ValueError(f"{given[0]} belongs to the dataset folder, not to {self.name}")
        if self.name == "folder" and not {"path", "image_size"} <= set(given):
            raise ValueError("the dataset folder needs path and image_size, as in path: flowers, image_size: [64, 64]")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What `load_dataset` takes."""
        return self.model_dump(exclude_none=True)

    @property
    def title(self) -> str:
        """What runs on it are listed under: its name, with that of the folder where it is one."""
        return f"folder-{Path(self.path).resolve().name}" if self.path else self.name


class Shift(_Strict):
    """Move each image by up to this much along both axes."""

    step: Literal["shift"]
    pixels: float = Field(gt=0)


class Rotation(_Strict):
    """Turn each image about its centre by up to this angle either way."""

    step: Literal["rotation"]
    degrees: float = Field(gt=0, le=180)


class Scale(_Strict):
    """Enlarge or shrink each image by up to this factor: 0.1 means 0.9 to 1.1 times."""

    step: Literal["scale"]
    factor: float = Field(gt=0, lt=1)


class Shear(_Strict):
    """Slant each image by up to this angle either way."""

    step: Literal["shear"]
    degrees: float = Field(gt=0, lt=90)


AugmentationStep = Annotated[Shift | Rotation | Scale | Shear, Field(discriminator="step")]


class Optimizer(_Strict):
    """The update rule."""

    name: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(gt=0, description="at its highest, after warm-up")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, times the learning rate, per step")


class Regularization(_Strict):
    """What the training loss adds to the loss of the examples."""

    l2: float = Field(
        0.0,
        ge=0,
        description="Nielsen's λ: adds λ / (2 · mini-batches of an epoch) times the sum of all squared kernel weights",
    )


class Schedule(_Strict):
    """How the learning rate moves over the run."""

    name: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0, description="epochs of linear rise from zero")


class Reported(_Strict):
    """What the paper reports for this recipe."""

    test_accuracy: float = Field(description="percent")
    source: str


class Range(_Strict):
    """Numbers from `min` to `max`, both included; whole ones where both are whole."""

    min: int | float
    max: int | float
    step: int | float | None = Field(None, gt=0)
    sampling: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.min >= self.max:
            raise ValueError(f"min ({self.min}) must be below max ({self.max})")
        if self.sampling == "log" and self.min <= 0:
            raise ValueError(f"a log range starts above zero, min is {self.min}")
        if self.sampling == "log" and self.step is not None and self.step <= 1:
            raise ValueError(f"the step of a log range is a factor above 1, received {self.step}")
        return self


class Choice(_Strict):
    """One of a list of values."""

    choices: list[Any] = Field(min_length=2)


class Recipe(_Strict):
    """Everything that decides a training run."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="also the registered and the served model's")
    description: str = ""
    network: Network
    dataset: DatasetChoice
    augmentation: list[AugmentationStep] = []
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    loss: Literal["crossentropy", "quadratic", "map"] = "crossentropy"
    regularization: Regularization = Regularization()
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="images per step")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    seed: int = Field(1, ge=0, lt=2**31)
    paper: Reported | None = None
    search: dict[str, Range | Choice] = {}

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """The recipe with some fields, by their dotted names, set to other values. Raises UsageError."""
        fields = self.model_dump(mode="json")
        for field, value in values.items():
            set_field(fields, field, value, self.name)
        return _validated(fields, self.name)

    def check_search(self) -> None:
        """Raise UsageError where `search` names a field that the recipe does not have, or a value it cannot take."""
        for dotted, space in self.search.items():
            if dotted.split(".")[0] in ("search", "name"):
                raise UsageError(f"The recipe {self.name} searches over '{dotted}', which decides nothing in training.")
            values = [space.min, space.max] if isinstance(space, Range) else space.choices
            for value in values:
                self.override({dotted: value})

    def flat(self) -> dict[str, Any]:
        """Every field but description and search by its dotted name, in the recipe's order."""
        return flatten(self.model_dump(mode="json", exclude={"description", "search", "paper"}))

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
    recipe = recipe_from_yaml(recipe_text(name), name, default_name=Path(name).stem if _is_path(name) else name)
    recipe.check_search()
    return recipe


def recipe_text(name: str) -> str:
    """A recipe's file as it stands there, comments included. Raises UsageError."""
    is_path = _is_path(name)
    path = Path(name) if is_path else BUILT_IN / f"{name}.yaml"
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        if is_path:
            raise UsageError(f"There is no recipe file '{name}'.") from None
        near = difflib.get_close_matches(name, list_recipes(), n=1)
        hint = (
            f"did you mean '{near[0]}'?" if near else f"there are {', '.join(list_recipes())}; or give a file's path."
        )
        raise UsageError(f"Unknown recipe '{name}'; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe file '{name}' cannot be read: {error}.") from error


def _is_path(name: str) -> bool:
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
        raise UsageError(_first_sentence(error, where)) from error


def _first_sentence(error: ValidationError, where: str) -> str:
    """The first of pydantic's complaints, as one sentence that names the field."""
    first = error.errors()[0]
    # Pydantic puts a union's branch (`rotation`, `function-after[…]`) into the location; the file has no such part.
    branches = {"shift", "rotation", "scale", "shear", "Range", "Choice", "int", "float"}
    parts = [str(part) for part in first["loc"]]
    field = ".".join(part for i, part in enumerate(parts) if i == 0 or (part not in branches and "[" not in part))
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(parts[-1], Recipe.model_fields, n=1)
        hint = f"; did you mean '{near[0]}'" if near and len(parts) == 1 else ""
        return f"The recipe {where} has an unknown field '{field}'{hint}."
    if first["type"] == "missing":
        return f"The recipe {where} lacks the field '{field}'."
    received = "" if first["type"].startswith("union_tag") else f", received {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"The recipe {where} has a bad field '{field}': {message}{received}."
