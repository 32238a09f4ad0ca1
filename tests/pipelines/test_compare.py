"""`zoo compare`, on runs with made-up metrics."""

import io
import json
import math
import re

import pytest
from PIL import Image
from rich.console import Console

from pipelines.comparison import differing, draw_together, latest_runs, read_run, trials_of
from pipelines.errors import UsageError
from pipelines.recipes import load_recipe
from pipelines.tracking import connect, find_run, track
from pipelines.tuning.trials import OBJECTIVES

pytestmark = pytest.mark.usefixtures("store")
DIGITS = load_recipe("digits_cnn").override({"search": {}})


def trained(accuracies, values=(), recipe=DIGITS, kind="train", error=None, **options):
    """The id of a run with these validation accuracies, an epoch each."""
    made = recipe.override(dict(values))
    try:
        with track(made, kind, **options) as run:
            for epoch, accuracy in enumerate(accuracies, 1):
                metrics = {"loss": 1 / epoch, "accuracy": accuracy, "val_loss": 2 / epoch, "val_accuracy": accuracy}
                run.log_epoch(epoch, metrics)
            if error:
                raise error
            if kind == "train":
                run.log_metrics({"test_accuracy": max(accuracies) - 0.01, "parameters": 1000 * len(accuracies)})
    except RuntimeError:
        pass
    return run.id


@pytest.fixture
def search():
    """The id of a search of four trials, of which the third failed before its first epoch."""
    with track(DIGITS, "search") as run:
        for number, rate in ((1, 0.02), (0, 0.003), (3, 0.001), (2, 0.5)):  # as several workers would end
            trained(
                [] if number == 2 else [0.5, 0.9 + rate],
                {"optimizer.learning_rate": rate},
                kind="trial",
                parent=run.id,
                more_tags={"zoo.trial": str(number)},
                error=RuntimeError("out [of] memory") if number == 2 else None,
            )
    return run.id


def compared(zoo_command, *arguments):
    status, out, err = zoo_command("compare", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_runs_by_id_with_what_differs_and_their_curves(zoo_command, tmp_path):
    first = trained([0.5, 0.9])
    second = trained([0.6, 0.8], {"batch_size": 32, "network.arguments.filters": [4], "seed": 3})
    result = compared(zoo_command, first[:8], second, "--output", tmp_path / "new" / "curves.png")
    assert result["differing"] == ["network.arguments.filters", "batch_size"]
    one, other = result["runs"]
    assert (one["run_id"], one["seed"], one["settings"]) == (
        first,
        1,
        {"network.arguments.filters": [16, 32], "batch_size": 64},
    )
    assert (other["run_id"], other["seed"]) == (second, 3)
    assert other["settings"] == {"network.arguments.filters": [4], "batch_size": 32}
    assert one["metrics"].pop("minutes") >= 0
    expected = {"val_accuracy": 0.9, "best_val_accuracy": 0.9, "val_loss": 1.0, "accuracy": 0.9, "loss": 0.5}
    assert one["metrics"] == pytest.approx(expected | {"test_accuracy": 0.89, "epochs": 2, "parameters": 2000})
    assert result["figure"] == str(tmp_path / "new" / "curves.png")
    with Image.open(result["figure"]) as picture:
        assert picture.format == "PNG"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curves.png"]


def test_the_table_shows_settings_and_metrics_and_the_best_is_said(zoo_command, tmp_path):
    runs = trained([0.5, 0.9]), trained([0.7, 0.8], {"optimizer.learning_rate": 0.01})
    status, out, _ = zoo_command("compare", *runs)
    assert status == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines[runs[0][:8]][1:7] == ["0.003", "1", "2", "90.00", "1.0000", "89.00"]
    assert lines[runs[1][:8]][1:7] == ["0.01", "1", "2", "80.00", "1.0000", "79.00"]
    assert "learning_" in out
    assert "filters" not in out  # what is the same is left out
    assert lines["curves"][1].startswith(str(tmp_path / "home" / "compare"))


def test_runs_that_keep_their_best_epoch_are_compared_by_it():
    best = read_run(find_run(trained([0.9, 0.95, 0.95, 0.7], {"keep": "best"})))
    last = read_run(find_run(trained([0.9, 0.95, 0.95, 0.7])))
    assert (best.metrics["val_accuracy"], best.metrics["val_loss"]) == (0.95, pytest.approx(2 / 3))
    assert (last.metrics["val_accuracy"], last.metrics["val_loss"]) == (0.7, 0.5)
    assert best.metrics["best_val_accuracy"] == last.metrics["best_val_accuracy"] == 0.95
    assert differing([best, last]) == ["keep"]


def test_a_few_runs_with_much_to_show_are_columns(zoo_command):
    values = {"augmentation": [], "epochs": 3, "batch_size": 8, "optimizer.learning_rate": 0.5, "seed": 2}
    runs = trained([0.5]), trained([0.6], values)
    _, out, _ = zoo_command("compare", *runs)
    lines = [line for line in out.splitlines() if line.strip()]
    assert lines[0].split() == ["run", runs[0][:8], runs[1][:8]]
    rows = {tuple(line.split()) for line in lines}
    assert {("optimizer.learning_rate", "0.003", "0.5"), ("augmentation.0.degrees", "10", "–")} <= rows
    assert {("epochs", "24", "3"), ("epochs", "trained", "1", "1"), ("seed", "1", "2")} <= rows
    assert max(map(len, lines[:-1])) <= 80


def test_a_recipe_is_its_latest_finished_training_run(zoo_command, search):
    first, latest = trained([0.5]), trained([0.6])
    trained([0.7], kind="trial", parent=search, more_tags={"zoo.trial": "9"})
    trained([0.8], error=RuntimeError("broke"))
    assert [run["run_id"] for run in compared(zoo_command, "digits_cnn", first)["runs"]] == [latest, first]


def test_without_arguments_the_latest_five_on_one_dataset(zoo_command):
    trained([0.4], recipe=load_recipe("lenet5"))
    ids = [trained([0.5], {"seed": seed}) for seed in range(7)]
    trained([0.9], error=RuntimeError("broke"))
    result = compared(zoo_command)
    assert [run["run_id"] for run in result["runs"]] == ids[:1:-1]
    assert result["remarks"] == ["All settings are the same but the seed."]


def test_all_trials_of_a_search_in_their_order_failed_ones_too(zoo_command, search):
    for reference in (search, search[:8], "digits_cnn"):
        result = compared(zoo_command, "--search", reference)
        assert [run["trial"] for run in result["runs"]] == [0, 1, 2, 3]
        assert result["differing"] == ["optimizer.learning_rate"]
        assert [run["settings"]["optimizer.learning_rate"] for run in result["runs"]] == [0.003, 0.02, 0.5, 0.001]
        failed = result["runs"][2]
        assert (failed["status"], failed["error"]) == ("FAILED", "RuntimeError: out [of] memory")
        assert failed["metrics"]["epochs"] == 0
    ordered = compared(zoo_command, "--search", search, "--metric", "val_accuracy")["runs"]
    assert [run["trial"] for run in ordered] == [1, 0, 3, 2]
    status, out, _ = zoo_command("compare", "--search", search)
    assert status == 0
    assert "trial 2: RuntimeError: out [of] memory" in out


@pytest.mark.parametrize("missed", OBJECTIVES)
def test_what_a_server_missed_is_unknown(zoo_command, missed):
    """And nothing else is put in its place, as the value of an earlier epoch."""
    runs = [trained([0.9], {"seed": 2})]
    for seed, epochs in ((3, (1, 2)), (4, (2,))):  # of which the value of `missed` is not there
        with track(DIGITS.override({"seed": seed}), "train") as run:
            for epoch in (1, 2):
                known = {name: 0.1 * epoch for name in OBJECTIVES if name != missed or epoch not in epochs}
                run.log_epoch(epoch, known)
        runs.append(run.id)
    for run in compared(zoo_command, *runs)["runs"][1:]:
        metrics = {name: run["metrics"].get(name) for name in OBJECTIVES}
        assert metrics.pop(missed) is None
        assert metrics == pytest.approx(dict.fromkeys(metrics, 0.2))
    status, out, _ = zoo_command("compare", *runs, "--metric", missed)
    assert status == 0
    assert "–" in out


def test_without_validation_accuracies_the_best_epoch_is_unknown():
    with track(DIGITS.override({"keep": "best"}), "train") as run:
        run.log_epoch(1, {"loss": 0.5, "val_loss": 0.6})
    assert read_run(connect().get_run(run.id)).metrics.keys() == {"epochs", "minutes"}


def test_settings_that_made_no_recipe_are_those_the_trial_is_listed_with(search):
    trial = trained([], kind="trial", parent=search, more_tags={"zoo.trial": "4"})
    client = connect()
    client.log_param(trial, "network.arguments.kind", '"nonsense"')
    assert read_run(client.get_run(trial)).settings["network.arguments.kind"] == "nonsense"


def test_of_many_trials_the_best_are_drawn():
    with track(DIGITS, "search") as run:
        for number in range(14):
            tags = {"zoo.trial": str(number)}
            trained([0.5 - number / 100], {"batch_size": 16 + number}, kind="trial", parent=run.id, more_tags=tags)
    trials = [read_run(trial) for trial in reversed(trials_of(run.id))]
    figure = draw_together(trials, "trials")
    assert figure.get_suptitle() == "trials, the best 12 of 14"
    drawn = [text.get_text().split(" ", 1)[1] for text in figure.legends[0].get_texts()]
    assert drawn == [f"trial {number}" for number in reversed(range(12))]


def test_the_best_is_bold(zoo_command, monkeypatch):
    runs = trained([0.5, 0.9]), trained([0.7, 0.8], {"seed": 2})
    terminal = Console(file=io.StringIO(), force_terminal=True, no_color=True, highlight=False, width=100)
    monkeypatch.setattr("pipelines.cli.compare.out", terminal)
    assert zoo_command("compare", *runs)[0] == 0
    bold = re.findall(r"\x1b\[1m\s*([\d.]+)", terminal.file.getvalue())
    assert bold == ["90.00", "1.0000", "89.00", "1.0000"]  # both have the least loss


def test_a_diverged_run_is_never_the_best(zoo_command):
    runs = trained([0.5, math.nan]), trained([0.4, 0.4], {"seed": 2})
    ordered = compared(zoo_command, *runs, "--metric", "val_accuracy")["runs"]
    assert [run["run_id"] for run in ordered] == [runs[1], runs[0]]
    assert ordered[1]["metrics"]["val_accuracy"] is None  # JSON has no NaN


def test_runs_without_epochs_have_no_curves(zoo_command):
    runs = [trained([], error=RuntimeError("broke"), values={"seed": seed}) for seed in (1, 2)]
    assert compared(zoo_command, *runs)["figure"] is None
    assert "no curves to draw" in zoo_command("compare", *runs)[1]


def test_other_datasets_are_compared_and_said(zoo_command):
    runs = trained([0.5]), trained([0.5], recipe=load_recipe("lenet5"))
    (remark,) = compared(zoo_command, *runs)["remarks"]
    assert remark.startswith("The runs are of different datasets (digits, mnist)")


def test_other_images_are_said(zoo_command):
    first, other, less = trained([0.5]), trained([0.5]), trained([0.5], {"dataset.validation": 100})
    for run, digest in ((first, "a"), (other, "b"), (less, "c")):
        connect().set_tag(run, "zoo.dataset_digest", digest)
    assert "The images of digits were not the same in all runs" in compared(zoo_command, first, other)["remarks"][-1]
    assert compared(zoo_command, first, less)["remarks"][-1].startswith("Not the same validation images were held out")


def test_equal_runs(zoo_command):
    assert "All settings are the same, and so is the seed." in zoo_command("compare", trained([0.5]), trained([0.6]))[1]


MISTAKES = [
    (["nosuchrun", "digits_cnn"], "There is no run 'nosuchrun'"),
    (["digits_cnn"], "Two runs at least can be compared, and 'digits_cnn' is one"),
    (["digits_cnn", "digits_cnn"], "which is named already"),
    (["SEARCH", "digits_cnn"], "is a search; zoo compare --search"),
    (["ENSEMBLE", "digits_cnn"], "is no train or trial run but ensemble"),
    (["--search", "TRAINED"], "is no search run but train"),
    (["--search", "EMPTY"], "has no trials; two at least can be compared"),
    (["digits_cnn", "--search", "SEARCH"], "--search takes all trials of a search"),
    (["--metric", "speed"], "sorted by 'speed'; expected one of val_accuracy, val_loss"),
    (["digits_cnn", "OTHER", "--metric", "objective"], "only a search's trials have one"),
    (["--output", "curves.jpg"], "is no PNG file"),
]


def test_what_cannot_be_compared_is_one_sentence(zoo_command, search):
    with track(DIGITS, "search") as empty, track(DIGITS, "ensemble") as ensemble:
        pass
    named = {
        "OTHER": trained([0.4]),
        "SEARCH": search,
        "EMPTY": empty.id,
        "ENSEMBLE": ensemble.id,
        "TRAINED": trained([0.5]),
    }
    for arguments, says in MISTAKES:
        status, out, err = zoo_command("compare", *(named.get(argument, argument) for argument in arguments))
        assert (status, out) == (2, ""), arguments
        assert says in err
        assert "Traceback" not in err


def test_nothing_to_compare():
    with pytest.raises(UsageError, match="and there is none"):
        latest_runs()
    trained([0.5])
    with pytest.raises(UsageError, match="and there is only one on the dataset of the newest"):
        latest_runs()
