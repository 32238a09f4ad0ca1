"""Which dataset a recipe trains on."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.settings.strict import Strict

Pixels = Annotated[int, Field(gt=0)]


class DatasetChoice(Strict):
    """A dataset and how many of its training images are held out for validation: none where that is 0."""

    name: str = Field(pattern=r"^\w+$")
    validation: int | None = Field(None, ge=0, description="images; without it the dataset's usual number")
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
