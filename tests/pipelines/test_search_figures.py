"""What the figures of a search contain; how they look was judged by eye."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection

from pipelines.figures.curves import MOST_RUNS, curves_together
from pipelines.figures.parallel import INACTIVE, parallel_coordinates, scale_of
from pipelines.figures.search import importance, objective_over_trials, seeds_compared
from pipelines.settings.search import Choice, Range
from pipelines.tuning.trials import Trial

SCALES = {"optimizer.name": "choice", "optimizer.learning_rate": "log", "optimizer.momentum": "linear"}
TRIALS = [
    Trial(0, {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-2, "optimizer.momentum": 0.9}, objective=0.97),
    Trial(1, {"optimizer.name": "adam", "optimizer.learning_rate": 1e-4}, objective=0.95),
    Trial(2, {"optimizer.name": "adam", "optimizer.learning_rate": 1.0}, error="RuntimeError: diverged"),
    Trial(3, {"optimizer.name": "adam", "optimizer.learning_rate": 1e-3}, objective=0.99),
    Trial(4, {"optimizer.name": "sgd", "optimizer.learning_rate": 1e-4, "optimizer.momentum": 0.5}),
]


def labelled(figure):
    """Everything that is drawn with a label, by that."""
    drawn = [artist for axes in figure.axes for artist in (*axes.lines, *axes.collections)]
    return {artist.get_label(): artist for artist in drawn if not artist.get_label().startswith("_")}


def texts(axes):
    return {text.get_text(): text for text in axes.texts}


def test_trials_best_so_far_recipe_and_failures():
    figure = objective_over_trials(TRIALS, "val_accuracy", "max", best=3)
    drawn = labelled(figure)
    np.testing.assert_allclose(drawn["trial"].get_offsets(), [[0, 97], [1, 95], [3, 99]])
    np.testing.assert_allclose(drawn["best so far"].get_ydata(), [97, 97, 99, 99])
    assert set(drawn["the recipe (trial 0)"].get_ydata()) == {97}
    np.testing.assert_allclose(drawn["the best (trial 3)"].get_offsets(), [[3, 99]])
    assert [x for x, _ in drawn["failed"].get_offsets()] == [2]
    (axes,) = figure.axes
    assert axes.get_ylabel() == "validation accuracy (%)"
    assert axes.get_title() == "4 trials, 1 failed"  # the fifth is neither finished nor failed


def test_a_loss_is_best_where_it_is_least():
    trials = [Trial(i, {}, objective=value) for i, value in enumerate((3, 1, 2))]
    drawn = labelled(objective_over_trials(trials, "loss", "min", best=1))
    np.testing.assert_allclose(drawn["best so far"].get_ydata(), [3, 1, 1, 1])


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("best", [1, 2])
def test_of_equally_good_trials_the_one_that_the_search_took_is_the_best(direction, best):
    worst = 0.1 if direction == "max" else 0.9
    trials = [Trial(i, {"batch_size": i + 1}, objective=v) for i, v in enumerate((worst, 0.5, 0.5, 0.5))]
    drawn = labelled(objective_over_trials(trials, "loss", direction, best=best))
    np.testing.assert_allclose(drawn[f"the best (trial {best})"].get_offsets(), [[best, 0.5]])
    figure = parallel_coordinates(trials, {"batch_size": "linear"}, "loss", direction, best=best)
    line = labelled(figure)[f"the best (trial {best})"]
    assert line.get_ydata()[0] == pytest.approx(best / 3)  # its own batch size
    (lines,) = figure.axes[0].collections
    np.testing.assert_allclose(lines.get_segments()[-1][:, 1], line.get_ydata())  # it has the best's colour, too


def test_the_recipe_is_seen_however_bad_it_is():
    trials = [Trial(i, {}, objective=value) for i, value in enumerate((0.1, 0.98, 0.975, 0.97, 0.985, 0.972))]
    (axes,) = objective_over_trials(trials, "val_accuracy", "max", best=4).axes
    assert axes.get_ylim()[0] < 10


@pytest.mark.parametrize(("direction", "bad", "side"), [("max", 0.1, 0), ("min", 9.0, 1)])
def test_a_trial_far_worse_than_the_others_is_at_the_edge(direction, bad, side):
    trials = [Trial(i, {}, objective=value) for i, value in enumerate((0.97, 0.98, 0.975, bad, 0.985, 0.972))]
    best = 4 if direction == "max" else 0
    figure = objective_over_trials(trials, "loss", direction, best=best)
    (axes,) = figure.axes
    (beyond,) = [artist for label, artist in labelled(figure).items() if label.startswith("worse than")]
    np.testing.assert_allclose(beyond.get_offsets(), [[3, axes.get_ylim()[side]]])
    assert np.ptp(axes.get_ylim()) < 0.1

    (axes,) = parallel_coordinates(trials, {"a": "linear"}, "loss", direction, best=best).axes
    assert any(label.startswith("≤" if direction == "max" else "≥") for label in texts(axes))


def test_trials_of_a_hyperband_show_their_epochs():
    trials = [Trial(i, {}, objective=0.9, epochs=epochs) for i, epochs in enumerate((2, 4, 12))]
    figure = objective_over_trials(trials, "val_accuracy", "max", best=0)
    points = labelled(figure)["trial"]
    assert list(points.get_array()) == [2, 4, 12]
    assert sorted(points.get_sizes()) == list(points.get_sizes())
    assert figure.axes[1].get_ylabel() == "epochs"


def test_every_finished_trial_is_a_line_across_the_fields():
    (axes,) = parallel_coordinates(TRIALS, SCALES, "val_accuracy", "max", best=3).axes
    (lines,) = axes.collections
    by_trial = {number: line[:, 1] for number, line in zip((1, 0, 3), lines.get_segments(), strict=True)}
    # log(1e-4 … 1e-2), and no momentum where the optimizer has none; the objective from 95 to 99.
    np.testing.assert_allclose(by_trial[0][1:], [1, 0.5, 0.5])
    np.testing.assert_allclose(by_trial[1][1:], [0, INACTIVE, 0])
    np.testing.assert_allclose(by_trial[3][1:], [0.5, INACTIVE, 1], atol=1e-12)
    ticks = texts(axes)
    assert {"optimizer.name", "learning_rate", "momentum", "sgd", "adam", "0.0001", "0.001", "0.01", "–"} <= set(ticks)
    heights = {name: ticks[name].get_position()[1] for name in ("sgd", "adam")}
    assert abs(by_trial[0][0] - heights["sgd"]) < 0.1 < abs(by_trial[0][0] - heights["adam"])
    labels = {line.get_label() for line in axes.lines}
    assert {"the recipe (trial 0)", "the best (trial 3)"} <= labels


def test_choices_are_ticks_in_their_order():
    values = [True, False, [16, 32], [8, 16], 128, 64, "relu"]
    trials = [Trial(i, {"a.b": value}, objective=float(i)) for i, value in enumerate(values)]
    (axes,) = parallel_coordinates(trials, {"a.b": "choice"}, "val_loss", "min", best=0).axes
    places = {name: text.get_position() for name, text in texts(axes).items()}
    ordered = ["no", "yes", "8, 16", "16, 32", "64", "128", "relu"]
    assert sorted(ordered, key=lambda name: places[name][1]) == ordered


def test_the_kind_of_a_range_is_its_scale():
    assert scale_of(Range(min=1, max=2)) == "linear"
    assert scale_of(Range(min=1, max=2, sampling="log")) == "log"
    assert scale_of(Choice(choices=[1, 2])) == "choice"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fields", [2, 10])
@pytest.mark.parametrize("count", [0, 1, 3, 60])
@pytest.mark.parametrize("equal", [False, True])
def test_any_number_of_trials_and_fields_is_drawn(fields, count, equal):
    """Without a warning of Matplotlib's, which a collapsed layout, a NaN or an empty range would be."""
    random = np.random.default_rng(4)
    names = [f"network.arguments.some_long_name_{i}" for i in range(fields)]
    scales = dict(zip(names, ["log", "linear", "choice"] * 4, strict=False))
    trials = [
        Trial(i, {name: 1.0 if equal else random.random() + 0.1 for name in names[i % 2 :]}, objective=0.5)
        for i in range(count)
    ]
    for figure in (
        parallel_coordinates(trials, scales, "val_accuracy", "max", best=0),
        objective_over_trials(trials, "val_accuracy", "max", best=0),
    ):
        FigureCanvasAgg(figure).draw()


def test_importance_is_a_bar_a_field_the_greatest_first():
    (axes,) = importance({"augmentation.0.degrees": 0.1, "batch_size": 0.9}, "val_loss").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([90, 10])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["batch_size", "degrees"]
    assert "validation loss" in axes.get_title()


def test_seeds_are_dots_beside_their_mean_and_deviation():
    (axes,) = seeds_compared({"the recipe": [0.98, 0.99], "the winner": [0.97]}, "digits").axes
    dots = [points.get_offsets() for points in axes.collections if isinstance(points, PathCollection)]
    np.testing.assert_allclose(dots[0][:, 1], [98, 99])
    np.testing.assert_allclose(dots[1][:, 1], [97])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["the recipe\n98.50 ± 0.71 %\n2 seeds", "the winner\n97.00 %\n1 seed"]


@pytest.mark.filterwarnings("error")
def test_curves_of_several_runs_have_colours_of_their_own():
    nan = float("nan")
    histories = [{"val_accuracy": [0.5, 0.9, 0.91], "accuracy": [0.4, 0.8, 0.9]} for _ in range(MOST_RUNS - 2)]
    histories += [{"val_loss": [nan, 0.5]}, {}]
    labels = [f"run {i}" for i in range(MOST_RUNS)]
    figure = curves_together(histories, "title", labels)
    FigureCanvasAgg(figure).draw()
    left, right = figure.axes
    solid = [line for line in left.lines if line.get_linestyle() == "-" and len(line.get_ydata())]
    np.testing.assert_allclose(solid[0].get_ydata(), [50, 90, 91])
    assert len({line.get_color() for line in solid}) == MOST_RUNS - 2
    assert left.get_ylim()[0] > 50  # the end of the runs is what is seen
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels
    assert len([line for line in right.lines if len(line.get_ydata())]) == 1


def test_drawing_needs_neither_keras_tuner_nor_tensorflow():
    code = (
        "import sys, pipelines.figures.search, pipelines.figures.curves\n"
        "sys.exit(bool({'keras_tuner', 'tensorflow', 'keras', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
