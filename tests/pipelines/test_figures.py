"""What the figures contain; how they look was judged by eye."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from pipelines.figures import classification, signals
from pipelines.figures.curves import learning_curves
from pipelines.figures.feature_maps import MOST_CURVES, MOST_MAPS, LayerMaps, feature_maps
from pipelines.figures.filters import first_layer_filters, output_codes, scaled, signal_filters
from pipelines.figures.guesses import likeliest, top_guesses
from pipelines.figures.invariance import rotation_invariance, shift_invariance
from zoo.layers import digit_codes

RANDOM = np.random.default_rng(11)
GREEN = (0x2C / 255, 0xA0 / 255, 0x2C / 255)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_weights_are_scaled_about_mid_grey():
    kernel = np.array([[-2.0, 0.0], [1.0, 0.5]])
    np.testing.assert_allclose(scaled(kernel), [[0, 0.5], [0.75, 0.625]])
    np.testing.assert_array_equal(scaled(np.zeros((2, 2))), np.full((2, 2), 0.5))


def test_each_tower_has_a_block_of_its_filters():
    kernels = RANDOM.normal(size=(11, 11, 3, 96))
    figure = first_layer_filters({"tower 1": kernels[..., :48], "tower 2": kernels[..., 48:]}, "AlexNet")
    blocks = figure.axes
    assert [block.get_title() for block in blocks] == ["tower 1", "tower 2"]
    for block, part in zip(blocks, (kernels[..., :48], kernels[..., 48:]), strict=True):
        assert len(block.images) == 48
        for i, tile in enumerate(block.images):
            np.testing.assert_allclose(tile.get_array(), scaled(part[..., i]))  # [height, width, 3] is colour
    places = {tuple(np.round(tile.get_extent(), 6)) for tile in blocks[0].images}
    assert len(places) == 48  # none covers another
    assert len({extent[0] for extent in places}) == 16  # columns, as in the paper's figure 3


def test_filters_of_one_channel_are_grey():
    kernels = RANDOM.normal(size=(5, 5, 1, 6))
    (block,) = first_layer_filters({"": kernels}, "LeNet-5").axes
    assert len(block.images) == 6
    for i, tile in enumerate(block.images):
        np.testing.assert_allclose(tile.get_array(), scaled(kernels[..., 0, i]))
        assert (tile.get_cmap().name, *tile.get_clim()) == ("gray", 0, 1)


def test_filters_of_a_signal_are_curves():
    kernels = RANDOM.normal(size=(10, 1, 11))
    drawn = [axes.lines[1].get_ydata() for axes in signal_filters(kernels, "speech").axes if axes.lines]
    np.testing.assert_array_equal(np.stack(drawn, axis=-1), kernels[:, 0])


def test_codes_are_bitmaps_with_their_classes():
    codes = digit_codes().reshape(10, 12, 7)
    shown = output_codes(codes, [str(i) for i in range(10)], "LeNet-5").axes
    assert [axes.get_xlabel() for axes in shown] == [str(i) for i in range(10)]
    for axes, code in zip(shown, codes, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), code)
        assert axes.images[0].get_cmap().name == "gray_r"  # +1 is ink


def test_each_layer_is_a_row_of_its_first_maps_on_one_scale():
    maps = RANDOM.normal(size=(24, 24, 20))
    layers = [LayerMaps("conv1", maps, "5x5 pixels"), LayerMaps("pool1", maps[::2, ::2, :4], "6x6 pixels")]
    pixels = RANDOM.integers(0, 256, (28, 28, 1)).astype(np.float32)
    axes = feature_maps(pixels, layers, "title").axes
    labels, rows = axes[::2], axes[1::2]
    assert [texts(label) for label in labels] == [
        ["input", "28x28x1"],
        ["conv1", "20 maps of 24x24\nsees 5x5 pixels"],
        ["pool1", "4 maps of 12x12\nsees 6x6 pixels"],
    ]
    np.testing.assert_allclose(rows[0].images[0].get_array(), pixels[..., 0] / 255)
    assert [len(row.images) for row in rows] == [1, MOST_MAPS, 4]
    for i, tile in enumerate(rows[1].images):
        np.testing.assert_array_equal(tile.get_array(), maps[..., i])
        assert tile.get_clim() == (maps[..., :MOST_MAPS].min(), maps[..., :MOST_MAPS].max())


def test_maps_of_a_signal_are_curves():
    signal, maps = RANDOM.normal(size=(1000, 1)), RANDOM.normal(size=(991, 16))
    axes = feature_maps(signal, [LayerMaps("conv1", maps, "10 samples")], "title").axes
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), signal[:, 0])
    assert texts(axes[2]) == ["conv1", "16 maps of 991\nsees 10 samples"]
    drawn = [line.get_ydata() for line in axes[3].lines]
    np.testing.assert_array_equal(np.stack(drawn, axis=-1), maps[:, :MOST_CURVES])


def test_a_layer_of_equal_values_is_drawn():
    (_, _, _, row) = feature_maps(np.zeros((8, 8, 3)), [LayerMaps("dead", np.zeros((8, 8, 2)), "3x3 pixels")], "").axes
    assert len(row.images) == 2


@pytest.fixture
def guessed():
    """Seven images, a network sure of class 2 each time."""
    images = RANDOM.integers(0, 256, (7, 8, 8, 3)).astype(np.float32)
    probabilities = np.tile([0.02, 0.1, 0.7, 0.08, 0.04, 0.06], (7, 1))
    return images, probabilities, ["ant", "bee", "cat", "dog", "elk", "fox"]


def test_guesses_are_the_five_likeliest_and_the_true_one_is_green(guessed):
    images, probabilities, names = guessed
    labels = np.array([2, 1, 0, 2, 2, 2, 2])
    figure = top_guesses(images, probabilities, names, labels, "title")
    bars = [axes for axes in figure.axes if axes.patches]
    pictures = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in pictures] == [names[i] for i in labels]
    assert len(bars) == len(pictures) == 7
    for axes, label in zip(bars, labels, strict=True):
        assert [bar.get_width() for bar in axes.patches] == [0.7, 0.1, 0.08, 0.06, 0.04]
        assert texts(axes)[::2] == ["cat", "bee", "dog", "fox", "elk"]
        assert texts(axes)[1] == "70.0 %"
        green = [np.allclose(bar.get_facecolor()[:3], GREEN) for bar in axes.patches]
        assert green == [i == label for i in (2, 1, 3, 5, 4)]  # ant is not among the five: none is green


def test_without_labels_nothing_is_green(guessed):
    figure = top_guesses(*guessed, None, "title")
    bars = [bar for axes in figure.axes for bar in axes.patches]
    assert bars
    assert not any(np.allclose(bar.get_facecolor()[:3], GREEN) for bar in bars)


def test_two_classes_make_two_bars():
    figure = top_guesses(RANDOM.normal(size=(1, 50, 1)), np.array([[0.3, 0.7]]), ["a", "b"], None, "title")
    picture, bars = figure.axes
    assert len(picture.lines) == 1
    assert texts(bars) == ["b", "70.0 %", "a", "30.0 %"]


def test_of_equally_likely_classes_the_first_come_first():
    assert likeliest(np.full(8, 0.125)) == [0, 1, 2, 3, 4]


def test_shift_invariance_shows_the_numbers():
    pooled = {"max": {1: 0.4, 2: 0.3, 4: 0.2}, "average": {1: 0.4, 2: 0.25, 4: 0.1}, "l2": {1: 0.4, 2: 0.35, 4: 0.15}}
    bars, curves = shift_invariance(0.4, pooled, "title").axes
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([40, 30, 25, 35])
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["no pooling", "max", "average", "L2"]
    assert texts(bars) == ["40.0 %", "30.0 %", "25.0 %", "35.0 %"]
    by_label = {line.get_label(): line for line in curves.lines}
    assert list(by_label["max"].get_xdata()) == [1, 2, 4]
    assert list(by_label["max"].get_ydata()) == pytest.approx([40, 30, 20])
    assert set(by_label["no pooling"].get_ydata()) == {40}
    colours = {axes_bar.get_facecolor() for axes_bar in bars.patches}
    assert len(colours) == 4


def test_a_map_of_one_position_has_no_windows_of_two():
    bars, _ = shift_invariance(0.4, {"max": {1: 0.4}, "average": {1: 0.4}, "l2": {1: 0.4}}, "title").axes
    assert len(bars.patches) == 1


def test_rotation_shows_detectors_inputs_and_their_maximum():
    angles = np.linspace(0, 360, 9)
    detectors = {0.0: RANDOM.normal(size=(8, 8, 1)), 180.0: RANDOM.normal(size=(8, 8, 1))}
    inputs = {90.0: RANDOM.random((8, 8, 1)) * 255}
    responses = RANDOM.normal(size=(9, 2))
    above, middle, below = rotation_invariance(detectors, inputs, angles, responses, "title").axes
    assert (len(above.images), len(middle.images)) == (2, 1)
    assert texts(above) == ["0°", "180°", "detectors\ntuned to"]
    by_label = {line.get_label(): line.get_ydata() for line in below.lines}
    np.testing.assert_array_equal(by_label["detector tuned to 0°"], responses[:, 0])
    np.testing.assert_array_equal(by_label["detector tuned to 180°"], responses[:, 1])
    np.testing.assert_array_equal(by_label["maximum over all 2"], responses.max(axis=1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 2, 10])
def test_whatever_the_number_of_images_they_have_room(count):
    """A layout that collapses is a warning of Matplotlib's."""
    probabilities = RANDOM.dirichlet(np.ones(10), count)
    figure = top_guesses(RANDOM.random((count, 28, 28, 1)) * 255, probabilities, "0123456789", None, "a\nb")
    FigureCanvasAgg(figure).draw()


NAMES = ["cat $_$", "a_$^$", "$x$"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: classification.confusion_matrix(np.ones((3, 3), int), NAMES),
        lambda: classification.misclassified_gallery(np.zeros((3, 8, 8, 1), np.uint8), NAMES, NAMES[::-1]),
        lambda: signals.misclassified_gallery(np.zeros((3, 50, 1), np.float32), NAMES, NAMES[::-1]),
        lambda: learning_curves({m: [1.0] for m in ("loss", "accuracy", "val_loss", "val_accuracy")}, NAMES[0]),
        lambda: top_guesses(np.zeros((1, 8, 8, 1)), np.full((1, 3), 1 / 3), NAMES, np.array([0]), NAMES[1]),
        lambda: output_codes(np.ones((3, 12, 7)), NAMES, NAMES[0]),
        lambda: first_layer_filters({"": np.ones((5, 5, 1, 6))}, NAMES[0]),
        lambda: signal_filters(np.ones((5, 1, 6)), NAMES[0]),
        lambda: feature_maps(np.zeros((8, 8, 1)), [LayerMaps("conv1", np.ones((4, 4, 2)), "5x5")], NAMES[0]),
        lambda: shift_invariance(0.4, {"max": {1: 0.4, 2: 0.3}}, NAMES[0]),
        lambda: rotation_invariance({0.0: np.ones((8, 8, 1))}, {}, np.arange(2), np.ones((2, 1)), NAMES[0]),
    ],
)
def test_names_with_dollar_signs_are_drawn_as_they_stand(make):
    """As mathematics they would be a ValueError, or slanted."""
    figure = make()
    FigureCanvasAgg(figure).draw()
    named = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert named
    assert not any(text.get_parse_math() for text in named)
