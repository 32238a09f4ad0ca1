"""A folder of images as a dataset."""

import numpy as np
import pytest
from PIL import Image

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError


def photographs(folder, classes=("cat", "dog"), count=10, size=(12, 9), suffix="png"):
    """Images of one colour each: the class's position in red, the image's own number in green."""
    for position, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (40 * position, 5 * i, 0)).save(folder / name / f"{name}{i}.{suffix}")
    return folder


def load(folder, **options):
    return load_dataset("folder", path=str(folder), **{"image_size": (8, 6), **options})


def test_a_folder_of_classes_is_split_alike_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    photographs(tmp_path / "pets")
    data = load("pets")
    assert data.class_names == ("cat", "dog")
    assert data.input_shape == (8, 6, 3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [15, 1, 4]
    # A fifth of each class for testing; every image is in one part, with its own label.
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    seen = []
    for part in (data.train, data.validation, data.test):
        for image, label in zip(part.images, part.labels, strict=True):
            assert (image == image[0, 0]).all()
            assert image[0, 0, 0] == 40 * label
            seen.append(tuple(image[0, 0]))
    assert len(set(seen)) == 20
    # Both classes are in what is held out, although it is the end of the training images.
    assert set(load("pets", validation=6).validation.labels) == {0, 1}
    assert data.digest == "ddddafabba892b97b7f4840ec342e867e61407e67e6c13a0c11f219c0df08ab0"
    monkeypatch.delenv("ZOO_DATA_DIR")
    monkeypatch.chdir(tmp_path)
    assert load("pets").digest == data.digest


def test_a_folder_with_a_test_set_of_its_own(tmp_path):
    photographs(tmp_path / "train", count=4)
    photographs(tmp_path / "test", count=3)
    data = load(tmp_path, validation=1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [7, 1, 6]


def test_images_are_filled_and_cut_about_their_centre(tmp_path):
    photographs(tmp_path, count=2)
    # Three times as wide as high: red, green and blue thirds, of which the middle is left. And lying on its side.
    stripes = np.repeat(np.eye(3, dtype=np.uint8) * 255, 10, axis=0)
    wide = Image.fromarray(np.repeat(stripes[np.newaxis], 10, axis=0))
    for name, image, options in (
        ("0.png", wide, {}),
        ("1.jpg", wide, {"quality": 95}),
        ("2.png", wide.convert("P"), {}),
        ("3.PNG", wide.convert("RGBA"), {}),
        ("4.jpeg", wide.convert("CMYK"), {"quality": 95}),
    ):
        image.save(tmp_path / "dog" / name, **options)
    turned = wide.rotate(-90, expand=True)
    turned.getexif()[0x0112] = 8  # stored turned by 90 degrees: a viewer turns it back
    turned.save(tmp_path / "dog" / "5.jpg", exif=turned.getexif(), quality=95)
    data = load(tmp_path, image_size=(4, 4))
    images = np.concatenate([part.images for part in (data.train, data.validation, data.test)])
    green = np.abs(images.astype(int) - (0, 255, 0)).max(axis=(1, 2, 3)) < 60
    assert green.sum() == 6


def test_grey_images(tmp_path):
    photographs(tmp_path, count=2)
    assert load(tmp_path, channels=1).input_shape == (8, 6, 1)


def test_what_is_transparent_is_white(tmp_path):
    photographs(tmp_path, count=2)
    for i in range(8):
        Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(tmp_path / "dog" / f"glass{i}.png")
    data = load(tmp_path)
    assert (data.train.images == 255).all(axis=(1, 2, 3)).sum() >= 5


def test_other_files_and_hidden_folders_are_left_alone(tmp_path):
    photographs(tmp_path)
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "readme.txt").write_text("pets")
    (tmp_path / "cat" / "notes.txt").write_text("a cat")
    (tmp_path / "cat" / "._cat0.png").write_bytes(b"a Mac's")
    assert len(load(tmp_path).train) == 15


def broken_photograph(folder):
    photographs(folder)
    (folder / "dog" / "dog3.png").write_bytes(b"no image")


def cut_photograph(folder):
    photographs(folder, suffix="jpg", size=(64, 64))
    path = folder / "dog" / "dog3.jpg"
    path.write_bytes(path.read_bytes()[:300])


def deep_photograph(folder):
    photographs(folder)
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(folder / "dog" / "dog3.png")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: None, r"There is no folder '.*pets', neither in ZOO_DATA_DIR \(not set\) nor in the working"),
        (lambda folder: folder.mkdir(), "has no sub-folder; expected a sub-folder of images for each of two classes"),
        (lambda folder: photographs(folder, classes=["cat"]), "has only 'cat'; expected a sub-folder"),
        (
            lambda folder: photographs(folder, count=1),
            "The class 'cat' has 1 PNG or JPEG files in .*expected 2 or more",
        ),
        (lambda folder: (photographs(folder), (folder / "eel").mkdir()), "The class 'eel' has 0 PNG or JPEG files"),
        (
            lambda folder: (photographs(folder / "train"), photographs(folder / "test", classes=["cat", "eel"])),
            "The class 'dog' of .* is in one of train/ and test/ only",
        ),
        (broken_photograph, r"The image '.*dog3\.png' cannot be read"),
        (cut_photograph, r"The image '.*dog3\.jpg' cannot be read"),
        (deep_photograph, r"The image '.*dog3\.png' has more than 8 bits a channel"),
    ],
)
def test_a_bad_folder_is_one_sentence(tmp_path, make, says):
    make(tmp_path / "pets")
    with pytest.raises(PipelineError, match=says) as error:
        load(tmp_path / "pets")
    assert "\n" not in str(error.value)


def test_more_pixels_than_memory(tmp_path):
    photographs(tmp_path)
    with pytest.raises(
        PipelineError, match=r"on the 20 images of .* takes \d+ GiB at 900000x900000x3, and this machine has"
    ):
        load(tmp_path, image_size=(900_000, 900_000))
