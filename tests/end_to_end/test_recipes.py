"""Every built-in recipe, from its file to an export: trains, is interrupted, goes on, is evaluated, exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from pipelines.datasets import load_dataset
from pipelines.experiment import run_experiment
from pipelines.networks import network_of
from pipelines.recipes import list_recipes, load_recipe
from pipelines.tracking import find_run, search_runs
from pipelines.training import augmentation_of, build_network, load_for
from serving.export import export_saved_model

SEED = 20_261_121
IMAGES, BATCH = 40, 8
FOLDER_CLASSES = 3


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """What the recipes' datasets are read from, in little: random images, each class brighter than the one before."""
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    folder = tmp_path_factory.mktemp("data")
    for name, shape in (("mnist", (28, 28)), ("cifar10", (32, 32, 3))):
        labels = np.arange(IMAGES) % 10
        images = random.integers(0, 25 * (labels + 1).reshape(-1, *[1] * len(shape)), (IMAGES, *shape)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    for part in ("train", "test"):
        for position in range(FOLDER_CLASSES):
            place = folder / "imagenet" / part / f"n{position}"
            place.mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(0, 80 * (position + 1), (90, 120, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.JPEG")
    return folder


@pytest.fixture(autouse=True)
def _data(data_folder, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(data_folder))


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_builds_its_network_for_its_dataset(name):
    recipe = load_recipe(name).override({"dataset.validation": 1})
    data = load_for(recipe)
    network = build_network(recipe, data)
    assert network.input_shape == (None, *data.input_shape)
    assert all(scores.shape == (None, len(data.class_names)) for scores in network.outputs)
    assert data.input_shape == zoo.get_spec(recipe.network.name).input_shape


def in_little(recipe):
    """The recipe with all that it says about training, for a narrow network and two short epochs."""
    arguments = {**zoo.get_spec(recipe.network.name).small}
    shape, _ = arguments.pop("input_shape", None), arguments.pop("classes", None)
    values = {"network.arguments": {**recipe.network.arguments, **arguments}, "epochs": 2, "search": {}}
    if recipe.dataset.name in ("mnist", "cifar10", "folder"):
        values |= {"dataset.validation": BATCH, "batch_size": BATCH}
    if recipe.dataset.name == "folder":
        values["dataset.image_size"] = [shape[0] + 9, shape[1] + 9]
        for i, step in enumerate(recipe.augmentation):
            if getattr(step, "size", None):
                values[f"augmentation.{i}.size"] = shape[:2]
    return recipe.override(values)


class Interruption(keras.callbacks.Callback):
    """In the middle of the second epoch."""

    def __init__(self):
        super().__init__()
        self.second = False

    def on_epoch_begin(self, epoch, logs=None):
        self.second = epoch == 1

    def on_train_batch_end(self, batch, logs=None):
        if self.second:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_trains_resumes_is_evaluated_and_exported(name, tmp_path):
    recipe = in_little(load_recipe(name))
    with pytest.raises(KeyboardInterrupt):
        run_experiment(recipe, [Interruption()])
    (killed,) = search_runs()
    trained = run_experiment(recipe, resume=True)
    run = find_run(trained.run_id)
    assert run.info.run_id == killed.info.run_id
    assert run.info.status == "FINISHED"
    assert np.isfinite(run.data.metrics["loss"])
    assert 0 <= run.data.metrics["test_accuracy_low"] <= run.data.metrics["test_accuracy"] <= 1

    network, data = network_of(run), load_for(recipe)
    assert len(network.outputs) == 1
    untrained = zoo.serving_form(build_network(recipe, data)).trainable_weights
    for before, after in zip(untrained, network.trainable_weights, strict=True):
        # AlexNet's biases of 1 are too large for so few steps to show in.
        assert np.all(np.equal(before, 1)) or not np.array_equal(before, after), f"{after.path} did not move"

    samples = data.validation.images[:4]
    lineage = {"run_id": trained.run_id}
    export_saved_model(
        network, tmp_path / "export", name=name, class_names=data.class_names, samples=samples, lineage=lineage
    )
    signature = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    (alias,) = signature.structured_input_signature[1]
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(network.predict(samples, verbose=0)))
    np.testing.assert_allclose(signature(**{alias: tf.constant(samples)})["probabilities"], expected, atol=1e-5)


def test_recipes_for_crops_show_the_centre_to_validation_and_test():
    recipe = in_little(load_recipe("alexnet"))
    whole, shown = load_dataset(**recipe.dataset.options), load_for(recipe)
    height, width, _ = augmentation_of(recipe, whole).input_shape
    assert whole.test.images.shape[1:3] == (height + 9, width + 9)
    np.testing.assert_array_equal(shown.test.images, whole.test.images[:, 4 : 4 + height, 4 : 4 + width])
    np.testing.assert_array_equal(shown.train.images, whole.train.images)
    assert shown.input_shape == (height, width, 3)
