"""The pictures of a network: what each of them shows, and the numbers in it."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from pipelines.drawing.picture import Picture
from pipelines.errors import UsageError
from pipelines.figures.feature_maps import LayerMaps, feature_maps
from pipelines.figures.filters import first_layer_filters, output_codes, signal_filters
from pipelines.figures.guesses import likeliest, top_guesses
from pipelines.figures.invariance import rotation_invariance, shift_invariance
from pipelines.invariance import rotated, rotation_responses, shift_change
from pipelines.subjects import Subject
from zoo.anatomy import anatomy, features
from zoo.layers import EuclideanRBF, MLPConv2D
from zoo.layers.rbf import CODE_COLUMNS, CODE_ROWS


def draw_filters(subject: Subject) -> Picture:
    """The filters of the first convolution, in the blocks of the towers that they feed."""
    layer, convolution = _first_convolution(subject)
    kernels = keras.ops.convert_to_numpy(convolution.kernel)
    *sides, channels, count = kernels.shape
    unit = "samples" if subject.is_signal else "pixels"
    title = f"{subject.network.title}\n{layer.name}: {count} filters of {_by(sides)} {unit}"
    numbers = {"layer": layer.name, "filters": count, "kernel_size": sides, "channels": channels}
    if subject.is_signal:
        return Picture(signal_filters(kernels, title), numbers)
    towers = _towers_after(subject, layer)
    parts = np.split(kernels, towers, axis=-1)
    blocks = {f"tower {i + 1}" if towers > 1 else "": part for i, part in enumerate(parts)}
    title += ", each scaled by its largest weight; mid-grey is zero"
    return Picture(first_layer_filters(blocks, title), numbers | {"towers": towers})


def draw_features(subject: Subject, endpoints: Sequence[str] = ()) -> Picture:
    """What the layers answer to the example: the first maps of each."""
    model = subject.network.model
    names = list(endpoints) or _endpoints(model)
    if not names:
        raise UsageError(f"{subject.network.spec} has no layers whose outputs are maps.")
    network = features(model, names)
    rows = {row.name: row for row in anatomy(model)}
    for name in names:
        if name not in rows:
            raise UsageError(f"'{name}' is the input of {subject.network.spec}; name a layer.")
        if len(rows[name].output_shape) != subject.example.ndim:
            shape = _by(rows[name].output_shape)
            raise UsageError(f"The output of '{name}', of the shape {shape}, is no maps; name a layer before it.")
    answers = network(subject.example[np.newaxis], training=False)
    unit = "samples" if subject.is_signal else "pixels"
    layers = [
        LayerMaps(
            name,
            keras.ops.convert_to_numpy(keras.ops.cast(answers[name][0], "float32")),
            f"{_by(rows[name].receptive_field)} {unit}",
        )
        for name in names
    ]
    numbers = {
        "input": subject.source,
        "layers": [
            {"name": name, "shape": rows[name].output_shape, "receptive_field": rows[name].receptive_field}
            for name in names
        ],
    }
    scale = "one scale a row" if subject.is_signal else "one scale a row, from its smallest value, dark, to its largest"
    title = f"{subject.network.title}\nthe first maps of each layer, {scale}"
    return Picture(feature_maps(subject.example, layers, title), numbers)


def draw_guesses(subject: Subject) -> Picture:
    """The five likeliest classes of each input that is shown."""
    scores = subject.network.model.predict(subject.shown, batch_size=len(subject.shown), verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(keras.ops.cast(scores, "float32")))
    names, labels = subject.class_names, subject.labels
    answers = [
        {
            "label": None if labels is None else names[labels[i]],
            "guesses": {names[k]: float(shares[k]) for k in likeliest(shares)},
        }
        for i, shares in enumerate(probabilities)
    ]
    truth = "" if labels is None else "; the true class is green"
    title = f"{subject.network.title}\n{subject.source}{truth}"
    figure = top_guesses(subject.shown, probabilities, names, labels, title)
    return Picture(figure, {"input": subject.source, "answers": answers})


def draw_invariance(subject: Subject) -> Picture:
    """How much the first convolution's map changes under a shift by one, as it is and pooled."""
    layer, convolution = _first_convolution(subject)
    model = subject.network.model
    # Of an mlpconv layer, the convolution inside it.
    maps = layer.output if convolution is layer else convolution(layer.input)
    changes = shift_change(keras.Model(model.input, maps), subject.measured)
    activation = getattr(convolution.activation, "__name__", type(convolution.activation).__name__)
    unit = "sample" if subject.is_signal else "pixel"
    title = (
        f"{subject.network.title}\n{layer.name} ({activation}): change when the input is shifted by one {unit}, "
        f"mean of {len(subject.measured)} inputs"
    )
    numbers = {
        "layer": layer.name,
        "activation": activation,
        "inputs": len(subject.measured),
        "none": changes.unpooled,
        **changes.pooled,
    }
    return Picture(shift_invariance(changes.unpooled, changes.pooled, title), numbers)


def draw_rotation(subject: Subject) -> Picture:
    """Detectors of the example at several rotations, whose maximum answers alike to all. The network takes no part."""
    if subject.is_signal:
        raise UsageError(f"{subject.network.spec} takes signals, which cannot be rotated.")
    found = rotation_responses(subject.example)
    count = len(found.tuned_to)
    lowest = found.responses.min(axis=0).max()
    title = (
        f"Learned invariance, constructed: {count} rotations of one image as filters, none trained\n"
        f"while the input is rotated, a detector falls from 1 to {_signed(lowest)} or below, "
        f"their maximum to {found.responses.max(axis=1).min():.2f}"
    )
    between = [float(angle + 180 / count) for angle in found.tuned_to]
    figure = rotation_invariance(
        dict(zip(found.tuned_to.tolist(), found.detectors, strict=True)),
        {angle: rotated(subject.example, angle) for angle in between},
        found.angles,
        found.responses,
        title,
    )
    numbers = {
        "detectors": count,
        "spread_of_maximum": found.spread_of_maximum,
        "spread_of_each_detector": found.spreads.tolist(),
    }
    return Picture(figure, numbers)


def draw_codes(subject: Subject) -> Picture:
    """The fixed codes of an RBF output, as the bitmaps that they are."""
    found = [layer for layer in subject.network.model.layers if isinstance(layer, EuclideanRBF)]
    if not found:
        raise UsageError(f"{subject.network.spec} has no output with fixed codes.")
    codes = keras.ops.convert_to_numpy(found[0].codes)
    if codes.shape[1] != CODE_ROWS * CODE_COLUMNS:
        raise UsageError(f"The codes of {subject.network.spec} have {codes.shape[1]} values and are no bitmaps.")
    title = f"{subject.network.spec}: the code of each class, fixed weights of the layer '{found[0].name}'"
    bitmaps = codes.reshape(-1, CODE_ROWS, CODE_COLUMNS)
    figure = output_codes(bitmaps, subject.class_names, title)
    return Picture(figure, {"layer": found[0].name, "codes": len(codes), "size": [CODE_ROWS, CODE_COLUMNS]})


def _first_convolution(subject: Subject) -> tuple[Any, Any]:
    """The layer that convolves the input first, and its convolution: itself, or the first one inside it."""
    for layer in subject.network.model.layers:
        convolution = layer.convolutions[0] if isinstance(layer, MLPConv2D) else layer
        if hasattr(convolution, "kernel_size"):
            return layer, convolution
    raise UsageError(f"{subject.network.spec} has no convolution.")


def _towers_after(subject: Subject, first: Any) -> int:
    """The towers of the next convolution: each takes its equal part of the first one's filters."""
    layers = subject.network.model.layers
    later = (layer for layer in layers[layers.index(first) + 1 :] if hasattr(layer, "kernel_size"))
    return getattr(next(later, None), "towers", 1)


def _endpoints(model: keras.Model) -> list[str]:
    """The convolutions, poolings and modules of a network, without the layers inside a module."""
    kinds = ("kernel_size", "convolutions", "pool_size")
    names = [
        layer.name
        for layer in model.layers
        if len(layer.output.shape) == len(model.input.shape)
        and (any(hasattr(layer, kind) for kind in kinds) or isinstance(layer, keras.layers.Concatenate))
    ]
    return [name for name in names if not any(name.startswith(f"{other}_") for other in names)]


def _by(sides: Iterable[int]) -> str:
    return "x".join(map(str, sides))


def _signed(value: float) -> str:
    """With a minus sign and not a hyphen."""
    return f"{value:.2f}".replace("-", "−")
