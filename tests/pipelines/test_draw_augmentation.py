"""`zoo draw RECIPE`: the sheet of training images before and after augmentation."""

import json

import numpy as np
import pytest
from PIL import Image

from pipelines import drawing
from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, UsageError
from pipelines.experiment import run_experiment
from pipelines.references import find_reference

pytestmark = pytest.mark.usefixtures("store")
RECIPE = """
network: {{name: mnist_cnn_relu}}
dataset: {{name: {dataset}}}
augmentation: {steps}
optimizer: {{name: sgd, learning_rate: 0.1}}
epochs: 1
batch_size: 64
"""


@pytest.fixture
def recipe_file(tmp_path):
    """Writes a recipe with some augmentation steps and returns its path."""

    def write(steps="[{step: shift, pixels: 2}]", dataset="digits"):
        (tmp_path / "mine.yaml").write_text(RECIPE.format(steps=steps, dataset=dataset))
        return str(tmp_path / "mine.yaml")

    return write


def sheet(path):
    """The drawn picture, as grey levels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def test_a_recipe_without_a_run_has_its_sheet(zoo_command):
    status, out, err = zoo_command("draw", "digits_cnn")
    assert status == 0
    (line,) = out.splitlines()
    assert sheet(line.split()[1]).shape[1] > 500
    assert "The recipe 'digits_cnn' has no finished run; run zoo train digits_cnn first." in " ".join(err.split())


def test_the_sheet_shows_training_images_and_what_the_steps_make_of_them(recipe_file):
    steps = "[{step: shift_expansion, pixels: 3}, {step: crop, size: [20, 22]}, {step: mixup, alpha: 0.4}]"
    pictures, _ = drawing.draw(find_reference(recipe_file(steps)), None, ["augmentation"])
    numbers = pictures["augmentation"].numbers
    assert [step["step"] for step in numbers["steps"]] == ["shift_expansion", "crop", "mixup"]
    assert (numbers["copies"], numbers["input_shape"], numbers["dataset"]) == (5, (20, 22, 1), "digits")
    assert numbers["labels"] == list("0123456789")
    figure = pictures["augmentation"].figure
    title = figure.get_suptitle()
    assert "shift_expansion (pixels 3) → crop (padding 0, size 20x22) → mixup (alpha 0.4)" in title
    (axes,) = figure.axes
    written = [text.get_text() for text in axes.texts]
    assert written[:6] == ["original", "version 0", "version 1", "version 2", "version 3", "version 4"]
    first = next(iter(numbers["shares"][0][0].items()))
    assert f"{first[0]}: {first[1]:.2f}" in written[9]
    for column in numbers["shares"]:
        assert all(sum(shares.values()) == pytest.approx(1, abs=1e-5) for shares in column)
    # The first column are training images, and no others.
    drawn = axes.images[0].get_array()[..., 0] * 255
    data = load_dataset("digits")
    originals = {image[..., 0].tobytes() for image in data.train.images}
    pitch = (len(drawn) - 28) // 9
    for top in range(0, len(drawn), pitch):
        tile = np.round(drawn[top : top + 28, :28]).astype(np.uint8)
        assert tile.tobytes() in originals


def test_the_seed_chooses_images_and_changes(zoo_command, recipe_file, tmp_path):
    sheets = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        options = ["--picture", "augmentation", "--seed", seed, "--output", tmp_path / name]
        assert zoo_command("draw", recipe_file(), *options)[0] == 0
        sheets.append(sheet(tmp_path / name / "augmentation.png"))
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert (sheets[0] != sheets[2]).any()


def test_a_run_is_drawn_with_its_own_recipes_sheet(zoo_command, small_recipe):
    """Its resolved recipe's, which may be another than the built-in one of that name."""
    run_experiment(small_recipe.override({"epochs": 1, "augmentation": [{"step": "cutout", "size": 9}]}))
    status, out, _ = zoo_command("draw", "digits_cnn", "--json")
    assert status == 0
    said = json.loads(out)
    assert set(said["pictures"]) == {"filters", "features", "guesses", "invariance", "rotation", "augmentation"}
    assert said["pictures"]["augmentation"]["steps"] == [{"step": "cutout", "size": 9, "fill": 0.0}]
    assert said["run_id"]
    status, out, _ = zoo_command("draw", said["run_id"], "--picture", "augmentation", "--json")
    assert list(json.loads(out)["pictures"]) == ["augmentation"]
    assert json.loads(out)["network"] is None
    fresh = json.loads(zoo_command("draw", "digits_cnn", "--fresh", "--json")[1])
    assert fresh["run_id"] is None
    assert len(fresh["pictures"]["augmentation"]["steps"]) == 4


def test_a_network_with_a_recipe_of_its_name_is_drawn_with_its_sheet(zoo_command, monkeypatch, tmp_path):
    """Where the dataset is at hand: nothing is downloaded for a picture that nobody asked for."""
    names = ["lenet5_modern", "--picture", "filters", "--picture", "augmentation", "--json"]
    said = json.loads(zoo_command("draw", "lenet5_modern", "--json")[1])
    assert "may have to be downloaded" in said["not_drawn"]["augmentation"]
    images = np.random.default_rng(1).integers(0, 256, (80, 28, 28), np.uint8)
    labels = np.arange(80) % 10
    parts = {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:], "y_test": labels[60:]}
    many = {name: np.concatenate([part] * 400) for name, part in parts.items()}
    np.savez(tmp_path / "mnist.npz", **many)
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    for arguments in (names, ["lenet5_modern", "--json"]):
        status, out, _ = zoo_command("draw", *arguments)
        assert status == 0
        said = json.loads(out)
        assert said["pictures"]["augmentation"]["dataset"] == "mnist"
        assert "filters" in said["pictures"]


@pytest.mark.parametrize(
    ("reference", "options", "says"),
    [
        ("mnist_cnn_relu", ["--picture", "augmentation"], "'mnist_cnn_relu' is a network and no recipe"),
        ("lenet5", ["--picture", "augmentation"], "The recipe lenet5 has no augmentation."),
        ("mnist_fc_faithful", [], "has no finished run; run zoo train mnist_fc_faithful first. The recipe mnist_fc_f"),
        ("digits_cnn", ["--picture", "filters"], "The recipe 'digits_cnn' has no finished run"),
        ("digits_cnn", ["seven.png", "--picture", "augmentation"], "Images of your own are shown to a network"),
        ("digits_cnn", ["seven.png"], "The recipe 'digits_cnn' has no finished run"),
        ("digits_cnn", ["--endpoint", "conv1", "--picture", "augmentation"], "--endpoint names what the picture feat"),
        ("digits_cnn", ["--endpoint", "conv1"], "The recipe 'digits_cnn' has no finished run"),
        ("./no.yaml", [], "There is no recipe file './no.yaml'."),
    ],
)
def test_a_mistake_is_one_sentence(zoo_command, tmp_path, reference, options, says):
    status, out, err = zoo_command("draw", reference, *options)
    assert status == 2
    assert says in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "home" / "drawings").exists()


def test_steps_that_the_images_cannot_take_are_named(recipe_file):
    with pytest.raises(UsageError, match=r"augmentation\.0\.step is pca_colour, and the images are grey"):
        drawing.draw(find_reference(recipe_file("[{step: pca_colour}]")), None, ["augmentation"])
    with pytest.raises(UsageError, match="signals"):
        drawing.draw(find_reference(recipe_file(dataset="speech_clips")), None, ["augmentation"])
    path = recipe_file()
    assert "name a run of it" in drawing.draw(find_reference(path), None)[1]["filters"]


def test_a_dataset_that_is_not_there_is_said(recipe_file, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    path = recipe_file(dataset="folder, path: nowhere, image_size: [8, 8]")
    with pytest.raises(PipelineError, match="There is no folder 'nowhere'"):
        drawing.draw(find_reference(path), None, ["augmentation"])


def test_colours_and_sizes_of_a_folder_of_photographs(recipe_file, monkeypatch, tmp_path):
    """Wide images, crops of another shape, mixed labels with long names: all inside the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rng = np.random.default_rng(3)
    for name in ("a very long name of a class", "$b$"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (30, 50, 3), np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    steps = "[{step: pca_colour}, {step: resized_crop, size: [20, 12]}, {step: cutmix, alpha: 1}]"
    path = recipe_file(steps, "folder, path: photos, image_size: [24, 40]")
    figure = drawing.draw(find_reference(path), None, ["augmentation"])[0]["augmentation"].figure
    FigureCanvasAgg(figure).draw()
    frame = figure.bbox.padded(1)
    for text in [figure._suptitle, *figure.axes[0].texts]:
        box = text.get_window_extent()
        assert frame.contains(*box.min), text
        assert frame.contains(*box.max), text
