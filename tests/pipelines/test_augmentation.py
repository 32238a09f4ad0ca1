"""What holds for every step of an augmentation, and for their order."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from pipelines.augmentation import make_augmentation
from pipelines.datasets import load_dataset
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe, recipe_from_yaml
from pipelines.settings.augmentation import AugmentationStep
from pipelines.training import build_network

SEED = tf.constant([1, 2], tf.int32)
SHAPE = (16, 20, 3)
CLASSES = 4
EXAMPLES = [
    {"step": "shift_expansion", "pixels": 1},
    {"step": "shift", "pixels": 3},
    {"step": "rotation", "degrees": 30},
    {"step": "scale", "factor": 0.3},
    {"step": "shear", "degrees": 30},
    {"step": "flip", "axis": "horizontal"},
    {"step": "flip", "axis": "vertical"},
    {"step": "crop", "padding": 3},
    {"step": "crop", "size": [12, 14]},
    {"step": "resized_crop"},
    {"step": "resized_crop", "area": [0.3, 0.5], "size": [8, 9]},
    {"step": "elastic", "alpha": 20, "sigma": 3},
    {"step": "pca_colour"},
    {"step": "cutout", "size": 6},
    {"step": "mixup", "alpha": 0.5},
    {"step": "cutmix", "alpha": 1.0},
]


def steps_of(*fields):
    """Steps as a recipe's file gives them."""
    listed = "[" + ", ".join(str(step).replace("'", "") for step in fields) + "]"
    recipe = f"""
        {{name: test, network: {{name: lenet5}}, dataset: {{name: digits}}, augmentation: {listed},
         optimizer: {{name: sgd, learning_rate: 0.1}}, epochs: 1, batch_size: 1}}"""
    return recipe_from_yaml(recipe, "test").augmentation


def batch(count=32, seed=3):
    """Images, labels and versions of which every image is another."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *SHAPE)).astype(np.float32)
    return images, np.arange(count) % CLASSES, np.arange(count) % 5


def make(*fields):
    return make_augmentation(steps_of(*fields), SHAPE, CLASSES, batch()[0].astype(np.uint8))


def augmented(augmentation, seed=SEED, given=None):
    images, labels, versions = batch() if given is None else given
    return [x.numpy() for x in augmentation(tf.constant(images), tf.constant(labels), tf.constant(versions), seed)]


every_step = pytest.mark.parametrize("fields", EXAMPLES, ids=lambda fields: "-".join(map(str, fields.values())))


def test_the_examples_cover_every_step():
    known = {get_args(step.model_fields["step"].annotation)[0] for step in get_args(get_args(AugmentationStep)[0])}
    assert {example["step"] for example in EXAMPLES} == known


@every_step
def test_what_comes_out_is_as_promised(fields):
    augmentation = make(fields)
    images, labels = augmented(augmentation)
    assert (images.dtype, images.shape) == (np.float32, (32, *augmentation.input_shape))
    assert np.isfinite(images).all()
    size = fields.get("size", SHAPE[:2]) if "crop" in fields["step"] else SHAPE[:2]
    assert augmentation.input_shape == (*size, 3)
    assert augmentation.copies == (5 if fields["step"] == "shift_expansion" else 1)
    assert augmentation.soft_labels == (fields["step"] in ("mixup", "cutmix"))
    if augmentation.soft_labels:
        assert (labels.dtype, labels.shape) == (np.float32, (32, CLASSES))
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    else:
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, batch()[1])


@every_step
def test_the_seed_decides_and_nothing_else(fields):
    augmentation = make(fields)
    once = augmented(augmentation)
    again, elsewhere = augmented(augmentation), augmented(make(fields))
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(once, again, elsewhere, strict=True))
    changed = [augmented(augmentation, tf.constant([1, i], tf.int32))[0] for i in range(3, 8)]
    assert any((other != once[0]).any() for other in changed) == (fields["step"] != "shift_expansion")


@every_step
def test_threads_and_graphs_change_nothing(fields):
    augmentation = make(fields)
    images, labels, versions = map(tf.constant, batch())

    def mapped(seed):
        return augmentation(images, labels, versions, tf.stack([tf.constant(7), tf.cast(seed, tf.int32)]))

    def run(threads):
        return list(tf.data.Dataset.range(6).map(mapped, threads).as_numpy_iterator())

    compiled = tf.function(mapped)
    for one, four, graph in zip(run(1), run(4), [compiled(tf.constant(i)) for i in range(6)], strict=True):
        for a, b, c in zip(one, four, graph, strict=True):
            np.testing.assert_array_equal(a, b)
            # A graph may compute in another order, so that an image is read a hair's breadth beside.
            np.testing.assert_allclose(a, c, atol=0.01)


@every_step
def test_each_image_is_changed_in_a_way_of_its_own(fields):
    """Of equal images, that is; MixUp and CutMix change a batch alike, and images by others."""
    images, labels, versions = batch()
    result, _ = augmented(make(fields), given=(np.repeat(images[:1], 32, axis=0), labels, versions))
    kinds = {"shift_expansion": 5, "flip": 2, "crop": 9, "mixup": 1, "cutmix": 1}
    assert len({image.tobytes() for image in result}) >= min(kinds.get(fields["step"], 20), 20)


@every_step
def test_an_images_own_change_does_not_depend_on_the_others(fields):
    """Apart from MixUp and CutMix, for which the others matter."""
    augmentation, (images, labels, versions) = make(fields), batch()
    if augmentation.soft_labels:
        return
    images[1:] = images[1:][::-1]
    np.testing.assert_array_equal(
        augmented(augmentation, given=(images, labels, versions))[0][0], augmented(augmentation)[0][0]
    )


@every_step
def test_a_step_has_random_numbers_of_its_own(fields):
    """The same step twice is two changes; in the second place it draws other numbers than in the first."""
    if fields["step"] in ("shift_expansion", "mixup", "cutmix"):
        return
    images, _ = augmented(make(fields))
    behind, _ = augmented(make({"step": "shift", "pixels": 1e-6}, fields))
    assert np.abs(images - behind).max() > 1


def test_no_step_is_part_of_the_network():
    """Nor of what is exported, which is made of the network alone."""
    data, recipe = load_dataset("digits"), load_recipe("digits_cnn")
    steps = ["rotation", "flip", "elastic", "cutout", "mixup"]
    chosen = [step for step in EXAMPLES if step["step"] in steps]
    networks = [build_network(recipe.override({"augmentation": listed}), data) for listed in ([], chosen)]
    layers = [[(type(layer), layer.get_config()) for layer in network.layers] for network in networks]
    assert layers[0] == layers[1]


def test_no_steps_change_nothing():
    augmentation = make()
    images, labels = augmented(augmentation)
    np.testing.assert_array_equal(images, batch()[0])
    np.testing.assert_array_equal(labels, batch()[1])
    assert (augmentation.copies, augmentation.soft_labels, augmentation.input_shape) == (1, False, SHAPE)


def test_every_step_can_follow_every_other():
    """All in one augmentation, on real digits as well."""
    single = [example for example in EXAMPLES if example["step"] not in ("shift_expansion", "cutmix", "pca_colour")]
    digits = load_dataset("digits").train
    augmentation = make_augmentation(
        steps_of(EXAMPLES[0], *single[:-1], {"step": "cutmix", "alpha": 1}), (28, 28, 1), 10
    )
    images, labels = augmentation(
        tf.constant(digits.images[:8], tf.float32), tf.constant(digits.labels[:8]), tf.zeros([8], tf.int64), SEED
    )
    assert images.shape == (8, 8, 9, 1)
    assert labels.shape == (8, 10)
    assert 0 <= images.numpy().min() < images.numpy().max() <= 255.01


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"step": "shift", "pixels": 2}, (16, 20)),
        ({"step": "crop", "padding": 4}, (16, 20)),
        ({"step": "crop", "size": [11, 20]}, (11, 20)),
        ({"step": "crop", "padding": 3, "size": [19, 14]}, (19, 14)),
        ({"step": "resized_crop", "size": [8, 8]}, (8, 8)),
    ],
)
def test_evaluation_sees_the_centre(fields, expected):
    images = batch()[0].astype(np.uint8)
    images[:, 7:9, 9:11] = 255
    view = make(fields).evaluation_view(images)
    assert view.shape == (32, *expected, 3)
    assert view.dtype == np.uint8
    if expected == (16, 20):
        assert view is images
        return
    rows, columns = expected
    assert (view[:, (rows - 1) // 2 : rows // 2 + 1, (columns - 1) // 2 : columns // 2 + 1] == 255).all()
    if rows > 16:
        assert not view[:, 0].any()
        np.testing.assert_array_equal(view[:, 1:17], images[:, :, 3:17])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ([{"step": "shift", "pixels": 16}], "augmentation.0.pixels is 16; for images of 16x20 expected less than 16."),
        ([{"step": "shift", "pixels": 1}, EXAMPLES[0]], "augmentation.1.step is shift_expansion"),
        ([{"step": "mixup", "alpha": 1}, {"step": "cutmix", "alpha": 1}], "augmentation.0.step is mixup"),
        ([{"step": "cutmix", "alpha": 1}, {"step": "flip", "axis": "vertical"}], "augmentation.0.step is cutmix"),
        ([{"step": "crop", "size": [17, 20]}], "augmentation.0.size is [17, 20], larger than images of 16x20 with"),
        ([{"step": "crop", "padding": 2, "size": [20, 25]}], "expected at most [20, 24]."),
        ([{"step": "crop", "size": [8, 8]}, {"step": "crop", "size": [9, 8]}], "augmentation.1.size is [9, 8]"),
        ([{"step": "crop", "padding": 16}], "augmentation.0.padding is 16"),
        ([{"step": "resized_crop", "size": [16, 21]}], "augmentation.0.size is [16, 21], larger than images of 16x20"),
        ([{"step": "elastic", "alpha": 1, "sigma": 17}], "augmentation.0.sigma is 17; for images of 16x20 expected"),
        ([{"step": "cutout", "size": 17}], "augmentation.0.size is 17; for images of 16x20 expected at most 16."),
        ([{"step": "crop", "padding": -1}], "'augmentation.0.padding': it should be greater than or equal to 0"),
        ([{"step": "crop"}], "a crop needs padding or a size"),
        ([{"step": "crop", "size": [8]}], "'augmentation.0.size"),
        ([{"step": "resized_crop", "area": [0.5, 0.1]}], "area goes from the least to the most, received [0.5, 0.1]"),
        ([{"step": "flip", "axis": "diagonal"}], "'augmentation.0.axis': it should be 'horizontal' or 'vertical'"),
        ([{"step": "blur"}], "bad field 'augmentation.0"),
        ([{"step": "mixup"}], "lacks the field 'augmentation.0.alpha'"),
    ],
)
def test_what_cannot_be_is_one_sentence_that_names_the_field(fields, says):
    with pytest.raises(UsageError) as raised:
        make(*fields)
    assert says in str(raised.value)
    assert str(raised.value).endswith(".")


def test_grey_images_have_no_colours_to_shift():
    with pytest.raises(UsageError, match=r"augmentation\.0\.step is pca_colour, and the images are grey"):
        make_augmentation(steps_of({"step": "pca_colour"}), (28, 28, 1), 10)


@pytest.mark.parametrize(
    "fields",
    [
        {"step": "shift", "pixels": 15.999},
        {"step": "rotation", "degrees": 180},
        {"step": "scale", "factor": 0.9},
        {"step": "shear", "degrees": 89.999999999},
        {"step": "resized_crop", "area": [1e-30, 1e-30], "ratio": [0.1, 0.1]},
        {"step": "resized_crop", "area": [1, 1], "ratio": [10, 10]},
        {"step": "elastic", "alpha": 10_000, "sigma": 0.5},
        {"step": "elastic", "alpha": 1e-9, "sigma": 16},
        {"step": "pca_colour", "deviation": 10},
        {"step": "cutout", "size": 16},
        {"step": "mixup", "alpha": 0.01},
        {"step": "mixup", "alpha": 100},
        {"step": "cutmix", "alpha": 0.01},
        {"step": "cutmix", "alpha": 100},
    ],
    ids=str,
)
def test_the_farthest_that_a_field_goes_gives_numbers(fields):
    augmentation = make(fields)
    for i in range(20):
        images, labels = augmented(augmentation, tf.constant([i, i], tf.int32))
        assert np.isfinite(images).all()
        assert np.isfinite(labels).all()
