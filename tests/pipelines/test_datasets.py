import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError, UsageError

REAL_MNIST = os.environ.get("ZOO_DATA_DIR")  # read before the tests take it away


def test_digits_are_fixed_and_balanced():
    data = load_dataset("digits")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1137, 300, 360]
    assert data.input_shape == (28, 28, 1)
    assert data.train.images.dtype == np.uint8
    assert data.class_names == tuple("0123456789")
    for part in (data.train, data.validation, data.test):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.min() > 0.6 * counts.mean()
    # Whoever changes the split or the enlargement makes past runs incomparable: this says so.
    assert data.digest == "2620c69c2b032758606f335966a0db9fcd7a60b04f331402f90194729997cf78"


def test_digits_use_the_whole_range_of_grey_inside_mnists_box():
    images = load_dataset("digits").train.images
    assert images.max() == 255
    assert images[:, 4:24, 4:24].any()
    frame = images.copy()
    frame[:, 4:24, 4:24] = 0
    assert not frame.any()


def test_no_image_is_in_two_parts():
    data = load_dataset("digits")
    parts = [{image.tobytes() for image in part.images} for part in (data.train, data.validation, data.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_validation_is_the_end_of_the_training_images():
    usual, other = load_dataset("digits"), load_dataset("digits", validation=100)
    assert len(other.train) == 1337
    np.testing.assert_array_equal(other.train.images[1137:], usual.validation.images[:200])
    np.testing.assert_array_equal(other.test.images, usual.test.images)
    assert other.digest != usual.digest


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: load_dataset("mnits"), "Unknown dataset 'mnits'; there are digits, mnist"),
        (lambda: load_dataset("digits", validation=1437), "1437; digits has 1437 training images"),
        (lambda: load_dataset("folder"), "folder needs a path and an image_size"),
    ],
)
def test_wrong_call(call, says):
    with pytest.raises(UsageError, match=says):
        call()


def arrays():
    return {
        "x_train": np.zeros((20, 28, 28), np.uint8),
        "y_train": np.arange(20, dtype=np.uint8) % 10,
        "x_test": np.zeros((10, 28, 28), np.uint8),
        "y_test": np.arange(10, dtype=np.uint8),
    }


def test_mnist_file_is_read_from_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", **arrays())
    data = load_dataset("mnist", validation=5)
    assert data.train.images.shape == (15, 28, 28, 1)
    assert data.test.labels.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"x_train": np.zeros((20, 27, 28), np.uint8)},
            r"x_train is uint8 \(20, 27, 28\); expected uint8 images of 28x28",
        ),
        ({"x_test": np.zeros((10, 28, 28), np.float32)}, "x_test is float32"),
        ({"y_train": np.full(20, 10, np.uint8)}, "y_train has labels from 10 to 10; expected 0 to 9"),
        ({"y_test": np.arange(10) - 1}, "y_test has labels from -1 to 8"),
        ({"y_train": np.zeros(19, np.uint8)}, r"y_train is uint8 \(19,\); expected 20 whole numbers"),
        ({"y_test": np.zeros(10)}, "y_test is float64"),
        ({"x_test": None}, "lacks the array x_test"),
        ({"x_test": np.zeros((10, 28, 28, 3), np.uint8)}, r"x_test is uint8 \(10, 28, 28, 3\)"),
    ],
)
def test_broken_arrays_are_one_sentence_with_file_and_remedy(tmp_path, monkeypatch, change, says):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    kept = {name: array for name, array in {**arrays(), **change}.items() if array is not None}
    np.savez(tmp_path / "mnist.npz", **kept)
    with pytest.raises(PipelineError, match=says) as error:
        load_dataset("mnist")
    assert str(tmp_path / "mnist.npz") in str(error.value)
    assert "Delete it and fetch it anew" in str(error.value)


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_truncated_file(tmp_path, monkeypatch, size):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    path = tmp_path / "mnist.npz"
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(PipelineError, match=r"truncated or no \.npz file"):
        load_dataset("mnist")


def test_a_folder_without_the_file_leaves_it_to_keras_cache(tmp_path, monkeypatch):
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    np.savez(tmp_path / "keras" / "datasets" / "mnist.npz", **arrays())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    assert len(load_dataset("mnist", validation=5).train) == 15


def test_an_array_in_place_of_an_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    with (tmp_path / "mnist.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PipelineError, match=r"truncated or no \.npz file"):
        load_dataset("mnist")


def test_flipped_bytes_never_give_a_traceback(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **arrays())
    whole, seed = path.read_bytes(), 20_261_121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for _ in range(200):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        with contextlib.suppress(PipelineError):
            load_dataset("mnist", validation=5)


def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    import keras

    def unreachable():
        raise Exception("URL fetch failure: no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", unreachable)
    with pytest.raises(PipelineError, match=r"download failed .*no route.*set ZOO_DATA_DIR"):
        load_dataset("mnist")


def cifar():
    colours = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    labels = np.arange(20, dtype=np.uint8)[:, None] % 10
    return {"x_train": colours, "y_train": labels, "x_test": colours[:10], "y_test": labels[:10]}


def test_cifar10_file_is_read_from_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    np.savez(tmp_path / "cifar10.npz", **cifar())
    data = load_dataset("cifar10", validation=5)
    assert data.input_shape == (32, 32, 3)
    assert data.train.labels.tolist() == [*range(10), *range(5)]
    assert [data.class_names[i] for i in (0, 1, 6, 9)] == ["airplane", "automobile", "frog", "truck"]
    np.savez(tmp_path / "cifar10.npz", **{**cifar(), "x_test": cifar()["x_test"][..., :1]})
    with pytest.raises(PipelineError, match=r"x_test is uint8 \(10, 32, 32, 1\); expected uint8 images of 32x32x3"):
        load_dataset("cifar10")


def test_cifar10_without_a_file_comes_from_keras_own_layout(tmp_path, monkeypatch):
    """Pickled batches of planes, red before green before blue, as the tar archive holds them."""
    import pickle

    batches = tmp_path / "datasets" / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    seed = 20_261_121
    print(f"seed {seed}")
    pixels = np.random.default_rng(seed).integers(0, 256, (10_000, 3, 32, 32), np.uint8)
    labels = [i % 10 for i in range(10_000)]
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (batches / name).write_bytes(pickle.dumps({b"data": pixels.reshape(10_000, -1), b"labels": labels}))
    import keras

    # What Keras asks of the archive's checksum is its own business.
    folder = str(batches.parent)
    monkeypatch.setattr("keras.src.datasets.cifar10.get_file", lambda *args, **kwargs: folder)
    data = load_dataset("cifar10")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [45_000, 5_000, 10_000]
    np.testing.assert_array_equal(data.test.images[7], pixels[7].transpose(1, 2, 0))
    assert data.test.labels[:12].tolist() == [*range(10), 0, 1]
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((pixels, labels), (pixels, labels)))
    with pytest.raises(PipelineError, match=r"Keras's cifar10 in .*x_train is uint8 \(10000, 3, 32, 32\)"):
        load_dataset("cifar10")


@pytest.mark.skipif(not REAL_MNIST or not Path(REAL_MNIST, "mnist.npz").is_file(), reason="ZOO_DATA_DIR has no MNIST")
def test_real_mnist(monkeypatch):
    monkeypatch.setenv("ZOO_DATA_DIR", REAL_MNIST)
    data = load_dataset("mnist")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [50_000, 10_000, 10_000]
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
