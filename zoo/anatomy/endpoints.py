"""The values at a network's named endpoints."""

import difflib
from collections.abc import Iterable

import keras

from zoo.spec import ZooError


def features(model: keras.Model, names: str | Iterable[str]) -> keras.Model:
    """A model from the network's input to its endpoints, sharing its layers and weights.

    An endpoint is the output of the layer of that name. With one name the model returns that output, with several a
    dict from each name to its output. Raises ZooError for a name that no layer has.
    """
    known = {layer.name: layer for layer in model.layers}
    wanted = [names] if isinstance(names, str) else list(names)
    if not wanted:
        raise ZooError(f"No endpoint of {model.name} is named; name one or more of its layers.")
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {list(known)}."
            raise ZooError(f"{model.name} has no endpoint '{name}'; {hint}")
    outputs = {name: known[name].output for name in wanted}
    return keras.Model(
        model.input, outputs[names] if isinstance(names, str) else outputs, name=f"{model.name}_features"
    )
