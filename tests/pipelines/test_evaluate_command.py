"""`zoo evaluate`, of runs and of files."""

import json
import zipfile

import keras
import pytest

import zoo
from pipelines.tracking import find_run


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    monkeypatch.setattr("pipelines.cli.evaluate.SECONDS", 0.1)


@pytest.fixture
def saved(published, tmp_path):
    """The published run's network as a file of its own."""
    path = tmp_path / "mine.keras"
    published.run.model.save(path)
    return path


@pytest.mark.parametrize("start", ["digits_cnn", 8, None])
def test_a_run(published_home, zoo_command, tmp_path, start):
    run_id = published_home.run.run_id
    reference = start if isinstance(start, str) else run_id[:start]
    status, out, err = zoo_command("evaluate", reference, "--output", tmp_path / "out", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert (found["run_id"], found["dataset"], found["split"], found["examples"]) == (run_id, "digits", "test", 360)
    recorded = {
        name.removeprefix("test_"): value
        for name, value in find_run(run_id).data.metrics.items()
        if name.startswith("test_")
    }
    assert found["recorded"] == recorded
    assert {name: found[name] for name in recorded} == pytest.approx(recorded)
    assert found["accuracy"] == published_home.run.test_accuracy
    assert set(found["files"]) == {path.name for path in (tmp_path / "out").iterdir()}
    page = (tmp_path / "out" / "test.html").read_text("utf-8")
    assert run_id in page
    assert "Learning curves" in page
    assert "filters: [8, 12]" in page


def test_the_console_has_the_numbers_and_the_page(published_home, zoo_command, tmp_path):
    status, out, _ = zoo_command("evaluate", "digits_cnn", "--split", "validation", "--output", tmp_path)
    assert status == 0
    validation = published_home.run.validation_accuracy
    assert f"{100 * validation:.2f} %" in out
    assert f"the run recorded {100 * validation:.2f} %" in out
    for line in ("examples          300", "worst classes", "images/s, 500 at once", "ms alone; 95 % within"):
        assert line in out
    assert str(tmp_path / "validation.html") in out


@pytest.mark.parametrize("option", [("--dataset", "digits"), ("--recipe", "digits_cnn")])
def test_a_file_answers_as_its_run(published, saved, zoo_command, tmp_path, option):
    status, out, err = zoo_command("evaluate", saved, *option, "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["accuracy"] == published.run.test_accuracy
    assert (found["run_id"], found["recorded"]) == (None, {})
    assert found["files"]["test.html"] == str(tmp_path / "home" / "evaluations" / "mine" / "test.html")


def test_a_file_that_cannot_be_evaluated(saved, zoo_command, tmp_path):
    keras.utils.set_random_seed(1)
    image = keras.Input((28, 28, 1), name="image")
    flat = keras.layers.Flatten()(image)

    def save(name, model):
        model.save(tmp_path / name)
        return tmp_path / name

    (tmp_path / "text.keras").write_text("no network")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    seven = save("seven.keras", zoo.create_model("mnist_cnn_relu", "serving", classes=7, filters=(3,)))
    small = save("small.keras", zoo.create_model("mnist_cnn_relu", "serving", input_shape=(12, 12, 1), filters=(3,)))
    sure = save("sure.keras", keras.Model(image, keras.layers.Dense(10, activation="softmax")(flat)))
    with pytest.warns(UserWarning, match="has not yet been built"):
        bare = save("bare.keras", keras.Sequential([keras.layers.Dense(10)]))
    digits = ("--dataset", "digits")
    for arguments, sentence in (
        ((saved,), "does not say what it was trained on; give either --dataset with one of digits, mnist"),
        ((saved, *digits, "--recipe", "digits_cnn"), "give either --dataset"),
        ((saved, "--dataset", "nothing"), "Unknown dataset 'nothing'"),
        ((saved, "--dataset", "folder"), "does not say which folder; give --recipe"),
        ((saved, "--recipe", "nothing"), "Unknown recipe 'nothing'"),
        ((saved, "--dataset", "speech_clips"), "takes inputs of the shape (28, 28, 1)"),
        ((tmp_path / "none.keras", *digits), "There is no file"),
        ((tmp_path, *digits), "--dataset is for a `.keras` file"),
        ((tmp_path / "text.keras", *digits), "is no `.keras` file, which is a zip archive"),
        ((tmp_path / "empty.keras", *digits), "holds no network that can be loaded"),
        ((bare, *digits), "holds no network with one input: Sequential"),
        ((seven, *digits), "answers with scores of the shape (7,); digits has 10 classes"),
        ((small, *digits), "takes inputs of the shape (12, 12, 1); those of digits have (28, 28, 1)"),
        ((sure, *digits), "answers with probabilities; expected scores before the softmax"),
    ):
        status, out, err = zoo_command("evaluate", *arguments)
        assert (status, out) == (2, ""), (arguments, err)
        (error,) = [line for line in err.splitlines() if line.startswith("Error:")]
        assert sentence in error
    assert not (tmp_path / "home" / "evaluations").exists()


def test_a_run_that_is_not_there_and_a_folder_that_cannot_be_written(published_home, saved, zoo_command, tmp_path):
    assert "There is no run 'nothing'" in zoo_command("evaluate", "nothing")[2]
    status, _, err = zoo_command("evaluate", "digits_cnn", "--dataset", "digits")
    assert (status, "--dataset is for a `.keras` file" in err) == (2, True)
    (tmp_path / "file").write_text("")
    status, _, err = zoo_command("evaluate", saved, "--dataset", "digits", "--output", tmp_path / "file")
    assert (status, "Nothing can be written to" in err) == (1, True)


def test_a_network_of_signals(zoo_command, tmp_path):
    keras.utils.set_random_seed(1)
    network = zoo.create_model("speech_conv1d", "serving", input_shape=(1000, 1))
    path = tmp_path / "speech.keras"
    network.save(path)
    status, out, err = zoo_command("evaluate", path, "--dataset", "speech_clips", "--output", tmp_path / "out")
    assert status == 0, err
    assert "signals/s" in out
    assert "top-5" not in out
    assert "signals per second" in (tmp_path / "out" / "test.html").read_text("utf-8")
    assert len(list((tmp_path / "out").glob("test_*.png"))) == 3
