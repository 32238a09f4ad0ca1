"""The command line as its user meets it; what a command does in depth is tested where it lives."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipelines.recipes import list_recipes

FAST = ["--set", "epochs=1", "--set", "network.arguments.filters=[4]", "--set", "augmentation=[]"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["train", "digits_cn"], 2, "Unknown recipe 'digits_cn'; did you mean 'digits_cnn'?"),
        (["train", "nowhere.yaml"], 2, "There is no recipe file 'nowhere.yaml'."),
        (["train", "digits_cnn", "--set", "epoch=3"], 2, "no field 'epoch'"),
        (["train", "digits_cnn", "--set", "epochs"], 2, "expected FIELD=VALUE"),
        (["train", "digits_cnn", "--set", "epochs=-1"], 2, "'epochs'"),
        (["train", "digits_cnn", "--set", "network.name=mnist_cn"], 2, "Unknown network 'mnist_cn'"),
        (["train", "digits_cnn", "--set", "network.arguments.units=1"], 2, "no argument 'units'"),
        (["train", "digits_cnn", "--set", "dataset.name=digit"], 2, "Unknown dataset 'digit'"),
        (["train", "digits_cnn", "--seed", "-1"], 2, "'--seed': Input should be greater than or equal to 0"),
        (["train", "digits_cnn", "--sede", "1"], 2, "--sede"),
        (["tune", "digits_cnn", "--trials", "0"], 2, "'--trials': Input should be greater than or equal to 1"),
        (["models", "lenet9"], 2, "Unknown network 'lenet9'"),
        (["publish", "nosuchrun"], 2, "There is no run 'nosuchrun'"),
        (["predict", "missing.png", "--model", "m"], 1, "There is no file or folder 'missing.png'."),
        (["serve", "--no_such_flag=1"], 2, "no_such_flag"),
        (["nonsense"], 2, "nonsense"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_mistake_is_one_sentence_and_no_traceback(zoo_command, arguments, status, says):
    if arguments[0] == "serve" and len(arguments) > 1:
        arguments = [*arguments, "--model_config_file=/nowhere"]
    received, out, err = zoo_command(*arguments)
    assert received == status
    assert says in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert out == ""


def test_a_missing_dataset_names_file_and_remedy(zoo_command, monkeypatch, tmp_path, store):
    (tmp_path / "mnist.npz").write_bytes(b"PK")
    monkeypatch.setenv("ZOO_DATA_DIR", str(tmp_path))
    status, _, err = zoo_command("train", "mnist_cnn")
    assert status == 1
    assert f"{tmp_path / 'mnist.npz'} is truncated" in err
    assert "point ZOO_DATA_DIR to a folder with a good mnist.npz" in err


@pytest.mark.usefixtures("store")
def test_train_prints_accuracy_run_and_the_next_command(zoo_command):
    status, out, _ = zoo_command("train", "digits_cnn", *FAST)
    assert status == 0
    assert "test accuracy" in out
    run_id = next(line.split()[-1] for line in out.splitlines() if line.startswith("run "))
    assert f"zoo publish {run_id[:8]}" in out


@pytest.mark.usefixtures("store")
def test_several_seeds_give_mean_and_spread(zoo_command):
    status, out, _ = zoo_command("train", "digits_cnn", "--seed", 5, "--seeds", 2, "--json", *FAST)
    assert status == 0
    result = json.loads(out)
    assert [run["seed"] for run in result["runs"]] == [5, 6]
    accuracies = [run["test_accuracy"] for run in result["runs"]]
    assert result["mean_test_accuracy"] == pytest.approx(np.mean(accuracies))
    assert result["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))


def test_lists_for_machines(zoo_command):
    status, out, _ = zoo_command("models", "mnist_*", "--json")
    assert status == 0
    by_name = {model["name"]: model for model in json.loads(out)}
    assert by_name["mnist_cnn_dropout"]["parameters"] == 1_672_570
    assert by_name["mnist_fc"]["input_shape"] == [28, 28, 1]
    assert "Nielsen" in by_name["mnist_fc"]["paper"]["citation"]
    status, out, _ = zoo_command("recipes", "--json")
    assert [recipe["name"] for recipe in json.loads(out)] == list_recipes()


def test_lists_for_people(zoo_command):
    assert "1,672,570" in zoo_command("models")[1]
    listed = zoo_command("recipes")[1]
    assert all(name in listed for name in list_recipes())
    assert "optimizer: {name: adam" in zoo_command("recipes", "lenet5")[1]
    status, _, err = zoo_command("recipes", "lenet6")
    assert status == 2
    assert "Unknown recipe 'lenet6'; did you mean 'lenet5'?" in err


def test_publish_says_what_it_did(zoo_command, published_home):
    status, out, _ = zoo_command("publish", published_home.run.run_id[:8])
    assert status == 0
    assert "digits_cnn version 1, stable" in out


@pytest.fixture
def png(tmp_path, published):
    """A test image of each class that the network gets right, as files named by their digit."""
    images, labels = published.run.data.test.images, published.run.data.test.labels
    right = published.run.model.predict(images, verbose=0).argmax(axis=1) == labels
    folder = tmp_path / "images"
    folder.mkdir()
    for digit in np.unique(labels[right]):
        Image.fromarray(images[np.flatnonzero(right & (labels == digit))[0], ..., 0]).save(folder / f"{digit}.png")
    return folder


@pytest.mark.parametrize("transport", [[], ["--rest"]])
def test_predict_answers_with_the_right_digits(zoo_command, published_home, server, png, transport):
    address = (server.rest_address if transport else server.grpc_address).removeprefix("http://")
    status, out, _ = zoo_command("predict", png, "--server", address, *transport, "--json")
    assert status == 0
    answers = json.loads(out)
    assert len(answers) == 10
    for answer in answers:
        assert answer["image"].endswith(f"{answer['label']}.png")
        assert len(answer["probabilities"]) == 10
    status, out, _ = zoo_command("predict", png / "7.png", "--server", address, *transport)
    assert "7.png" in out
    assert "…" not in out  # it fits into 80 columns


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--version", 9], "zoo publish"),
        (["--label", "best"], "Unrecognized servable version label: best"),
        (["--model", "nothing"], "refused the request for nothing"),
    ],
)
def test_predict_asks_for_what_it_is_told(zoo_command, published_home, server, png, options, says):
    status, out, err = zoo_command("predict", png / "3.png", "--server", server.grpc_address, *options)
    assert (status, out) == (1, "")
    assert says in err
    assert zoo_command("predict", png / "3.png", "--server", server.grpc_address, "--version", 1)[0] == 0


def test_predict_without_a_server_or_an_image(zoo_command, published_home, tmp_path, png):
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert "is no image file" in zoo_command("predict", text)[2]
    status, _, err = zoo_command("predict", png / "3.png", "--server", "127.0.0.1:1")
    assert status == 1
    assert "No model server answers at 127.0.0.1:1; start one with `zoo serve`" in err


@pytest.mark.usefixtures("store")
def test_predict_needs_to_know_which_model(zoo_command, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    status, _, err = zoo_command("predict", tmp_path / "a.png")
    assert status == 2
    assert "Which model?" in err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['zoo', '--help']\n"
        "import pipelines.cli\n"
        "try: pipelines.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'numpy', 'matplotlib', 'sklearn', 'grpc'} & set(sys.modules)\n"
        "sys.exit(f'--help loads {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "quickstart" in done.stdout
