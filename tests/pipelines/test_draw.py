"""`zoo draw`: what is drawn of a network, of a run, and of an image."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import zoo
from pipelines import drawing
from pipelines.cli.draw import PictureName
from pipelines.drawing.network import draw_features, draw_filters
from pipelines.errors import UsageError
from pipelines.references import Reference, find_reference
from pipelines.subjects import Network, Subject, find_subject

ALL = [picture.value for picture in PictureName]


def subject_of(name, labels=None):
    """The network `name`, small and untrained, and random inputs for it."""
    spec = zoo.get_spec(name)
    keras.utils.set_random_seed(1)
    model = zoo.create_model(name, "serving", **spec.small)
    inputs = np.random.default_rng(5).random((4, *model.input.shape[1:]), np.float32) * 255
    names = tuple(f"class {i}" for i in range(model.output.shape[-1]))
    return Subject(Network(model, name, f"{name}, untrained"), names, inputs, labels, "noise", inputs[0], inputs)


def draw(subject, names=()):
    """The pictures of a network that has no recipe."""
    name = subject.network.spec
    return drawing.draw(Reference(name, network=name), subject, names)


def find(name, *arguments, **options):
    return find_subject(find_reference(name), *arguments, **options)


def is_png(path):
    with Image.open(path) as image:
        image.load()
        return image.format == "PNG" and min(image.size) > 100


def texts_outside(figure):
    """What is written and does not fit into the figure."""
    FigureCanvasAgg(figure).draw()
    written = [*figure.texts, figure._suptitle]
    for axes in figure.axes:
        written += [*axes.texts, axes.title]
        if axes.axison:
            written += [axes.xaxis.label, axes.yaxis.label]
    frame = figure.bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent()) for text in written if text.get_text()]
    return [text for text, box in boxes if not (frame.contains(*box.min) and frame.contains(*box.max))]


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_network_of_the_zoo_can_be_drawn(name):
    subject = subject_of(name)
    pictures, reasons = draw(subject)
    assert sorted([*pictures, *reasons]) == sorted(ALL)  # what `zoo draw --picture` takes is what there is
    if name == "mnist_fc":
        assert set(reasons) == {"filters", "features", "invariance", "codes", "augmentation"}
        return
    assert {"filters", "features", "guesses", "invariance"} <= set(pictures)
    assert ("rotation" in reasons) == subject.is_signal
    for picture in pictures.values():
        json.dumps(picture.numbers)
        assert texts_outside(picture.figure) == []


@pytest.mark.parametrize(("name", "towers"), [("alexnet", 2), ("alexnet_small", 2), ("lenet5", 1)])
def test_the_towers_that_the_first_filters_feed_are_told_apart(name, towers):
    subject = subject_of(name)
    picture = draw_filters(subject)
    assert picture.numbers["towers"] == len(picture.figure.axes) == towers
    first = keras.ops.convert_to_numpy(subject.network.model.get_layer(picture.numbers["layer"]).kernel)
    half = first.shape[-1] // towers
    assert [len(block.images) for block in picture.figure.axes] == [half] * towers
    kernel = first[..., -half]  # the last tower's first filter
    tile = picture.figure.axes[-1].images[0].get_array()
    largest = np.abs(kernel).max()
    np.testing.assert_allclose(tile.reshape(kernel.shape), 0.5 + kernel / (2 * largest), rtol=1e-6)


def test_feature_maps_are_those_of_the_named_layers():
    subject = subject_of("inception_v1_small")
    model = subject.network.model
    names = [layer["name"] for layer in draw_features(subject).numbers["layers"]]
    modules = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    assert modules
    assert set(modules) < set(names)
    assert not any(name.startswith(f"{module}_") for name in names for module in modules)
    picture = draw_features(subject, [modules[0]])
    expected = zoo.anatomy.features(model, modules[0])(subject.example[np.newaxis])
    drawn = picture.figure.axes[3].images
    for i, tile in enumerate(drawn):
        np.testing.assert_allclose(tile.get_array(), expected[0, ..., i], rtol=1e-5, atol=1e-6)


def test_guesses_are_the_softmax_of_the_scores():
    subject = replace(subject_of("lenet5"), labels=np.array([3, 1, 4, 1]))
    pictures, _ = draw(subject, ["guesses"])
    scores = subject.network.model.predict(subject.shown, verbose=0)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    answers = pictures["guesses"].numbers["answers"]
    assert [answer["label"] for answer in answers] == ["class 3", "class 1", "class 4", "class 1"]
    for answer, row in zip(answers, shares, strict=True):
        drawn = list(answer["guesses"].values())
        assert drawn == pytest.approx(sorted(row)[:-6:-1], rel=1e-4)
        assert drawn == pytest.approx([row[int(name.removeprefix("class "))] for name in answer["guesses"]], rel=1e-4)


def test_pooling_lowers_the_change_under_a_shift(published_home):
    """Of the trained network, as the texts on pooling claim."""
    pictures, _ = draw(find("digits_cnn"), ["invariance"])
    numbers = pictures["invariance"].numbers
    assert (numbers["layer"], numbers["activation"], numbers["inputs"]) == ("conv1", "relu", 64)
    for kind in ("max", "average", "l2"):
        changes = list(numbers[kind].values())
        assert changes == sorted(changes, reverse=True)
        assert changes[0] == pytest.approx(numbers["none"])
        assert changes[1] < 0.9 * numbers["none"]


def test_a_run_is_shown_validation_images_and_never_test_images(published_home):
    data = published_home.run.data
    subject = find(published_home.run.run_id[:8])
    validation, test = ({image.tobytes() for image in split.images} for split in (data.validation, data.test))
    seen = {image.astype(np.uint8).tobytes() for image in (*subject.shown, *subject.measured)}
    assert seen <= validation
    assert not seen & test
    assert subject.labels.tolist() == list(range(10))
    by_image = dict(zip((i.tobytes() for i in data.validation.images), data.validation.labels, strict=True))
    assert [by_image[image.astype(np.uint8).tobytes()] for image in subject.shown] == subject.labels.tolist()
    assert any((a != b).any() for a, b in zip(subject.shown, find("digits_cnn", seed=2).shown, strict=True))


@pytest.mark.usefixtures("store")
def test_fresh_weights_are_the_seeds():
    first, again, other = (find("lenet5", seed=seed).network for seed in (4, 4, 5))
    assert "untrained (fresh weights, seed 4)" in first.title
    kernels = [keras.ops.convert_to_numpy(network.model.get_layer("c1").kernel) for network in (first, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


def test_a_trained_run_is_drawn_in_all_pictures(zoo_command, published_home, tmp_path):
    status, out, err = zoo_command("draw", "digits_cnn", "--output", tmp_path / "new" / "drawn")
    assert status == 0
    files = dict(line.split() for line in out.splitlines())
    assert list(files) == ["filters", "features", "guesses", "invariance", "rotation"]
    assert all(is_png(file) for file in files.values())
    assert sorted(path.name for path in (tmp_path / "new" / "drawn").iterdir()) == sorted(f"{n}.png" for n in files)
    assert "codes        not drawn: mnist_cnn_dropout has no output with fixed codes." in err
    assert "augmentation not drawn: The recipe digits_cnn has no augmentation." in err


@pytest.mark.usefixtures("store")
def test_a_network_is_drawn_into_its_folder(zoo_command, tmp_path):
    status, out, _ = zoo_command("draw", "lenet5", "--picture", "codes", "--picture", "filters", "--json")
    assert status == 0
    said = json.loads(out)
    assert (said["network"], said["run_id"], said["seed"]) == ("lenet5", None, 1)
    assert said["pictures"]["codes"]["size"] == [12, 7]
    assert said["pictures"]["filters"]["filters"] == 6
    folder = tmp_path / "home" / "drawings" / "lenet5"
    assert [said["pictures"][name]["file"] for name in ("codes", "filters")] == [
        str(folder / "codes.png"),
        str(folder / "filters.png"),
    ]
    assert all(is_png(path) for path in folder.iterdir())


@pytest.mark.usefixtures("store")
def test_a_network_that_hears_is_shown_signals(zoo_command):
    status, out, _ = zoo_command("draw", "speech_conv1d", "--json")
    assert status == 0
    said = json.loads(out)
    assert set(said["pictures"]) == {"filters", "features", "guesses", "invariance"}
    assert "takes signals" in said["not_drawn"]["rotation"]
    assert {answer["label"] for answer in said["pictures"]["guesses"]["answers"]} == {"speech", "not speech"}


@pytest.fixture
def photo(tmp_path, published):
    """A digit as a large colour photograph."""
    digit = published.run.data.test.images[0, ..., 0]
    image = Image.fromarray(np.stack([digit, digit // 2, 255 - digit], axis=-1)).resize((211, 180))
    image.save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


@pytest.mark.parametrize("options", [[], ["--invert"]])
def test_an_image_is_read_as_the_served_model_reads_it(zoo_command, published_home, photo, tmp_path, options):
    given = ["--picture", "guesses", "--output", tmp_path, "--json"]
    status, out, _ = zoo_command("draw", "digits_cnn", photo, *options, *given)
    assert status == 0
    (answer,) = json.loads(out)["pictures"]["guesses"]["answers"]
    from serving.images import read_as_png

    served = tf.saved_model.load(str(published_home.release.folder)).signatures["predict_bytes"]
    encoded = read_as_png(photo, invert=bool(options))
    shares = served(image_bytes=tf.constant([encoded]))["probabilities"].numpy()[0]
    assert answer["label"] is None
    assert list(answer["guesses"]) == [str(i) for i in np.argsort(-shares)[:5]]
    assert list(answer["guesses"].values()) == pytest.approx(sorted(shares)[:-6:-1], abs=1e-5)


def test_a_folder_stands_for_its_images(published_home, tmp_path):
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (28, 28), np.uint8)).save(tmp_path / f"{i:02}.png")
    subject = find("digits_cnn", tmp_path)
    assert len(subject.shown) == 10
    with Image.open(tmp_path / "00.png") as first:
        np.testing.assert_array_equal(subject.example[..., 0], np.asarray(first))


@pytest.mark.usefixtures("store")
def test_a_network_of_colour_images_is_shown_grey_digits_in_its_size():
    subject = find("alexnet_small")
    assert subject.shown.shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(subject.shown[..., 0], subject.shown[..., 2])
    assert 100 < subject.shown.max() <= 255
    assert subject.labels.tolist() == list(range(10))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["lenet6"], 2, "There is no network, run or recipe 'lenet6'; did you mean 'lenet5'?"),
        (["digits_cn"], 2, "There is no network, run or recipe 'digits_cn'; did you mean 'digits_cnn'?"),
        (["0123abcd"], 2, "There is no run '0123abcd'"),
        (["lenet6", "--fresh"], 2, "Unknown network 'lenet6'"),
        (["lenet5", "missing.png"], 1, "There is no file or folder 'missing.png'."),
        (["lenet5", "text.png"], 1, "'text.png' is no image file that can be read"),
        (["lenet5", "--endpoint", "c9"], 2, "lenet5 has no endpoint 'c9'"),
        (["lenet5", "--endpoint", "f6"], 2, "The output of 'f6', of the shape 84, is no maps"),
        (["lenet5", "--endpoint", "image"], 2, "'image' is the input of lenet5"),
        (["lenet5", "--endpoint", "c1", "--picture", "codes"], 2, "--endpoint names what the picture features shows"),
        (["lenet5", "--invert"], 2, "--invert swaps light and dark of images of your own; give an image"),
        (["mnist_fc", "--picture", "filters"], 2, "mnist_fc has no convolution."),
        (["mnist_fc", "--picture", "codes"], 2, "mnist_fc has no output with fixed codes."),
        (["lenet5", "--picture", "shadows"], 2, "'shadows' is not one of"),
        (["speech_conv1d", "text.png"], 2, "speech_conv1d takes signals and no images; leave out 'text.png'."),
        (["speech_conv1d", "--picture", "rotation"], 2, "takes signals, which cannot be rotated."),
        (["lenet5", "black.png", "--picture", "rotation"], 2, "The image is of one colour"),
        (["lenet5", "--picture", "codes", "--output", "text.png"], 1, "Nothing can be written to 'text.png'"),
        (["lenet5", "--picture", "codes", "--output", "taken"], 1, "Nothing can be written to 'taken'"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(zoo_command, monkeypatch, tmp_path, arguments, status, says):
    work = tmp_path / "work"
    (work / "taken" / "codes.png").mkdir(parents=True)
    (work / "text.png").write_text("no image")
    Image.new("L", (28, 28)).save(work / "black.png")
    monkeypatch.chdir(work)
    before = sorted(work.rglob("*"))
    received, out, err = zoo_command("draw", *arguments)
    assert received == status
    assert says in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""
    assert sorted(work.rglob("*")) == before
    assert not (tmp_path / "home" / "drawings").exists()


def test_what_was_asked_for_by_name_must_apply():
    subject = subject_of("lenet5_modern")
    assert "codes" in draw(subject)[1]
    with pytest.raises(UsageError, match="no output with fixed codes"):
        draw(subject, ["filters", "codes"])
