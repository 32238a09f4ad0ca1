"""What each augmentation step costs: images per second, beside Keras's layer for the same where there is one.

    python benchmarks/augmentation.py [--rounds 5] [--batches 60] [--json]

Each step prepares batches of 128 images as in training, in a `Dataset.map` with two parallel calls on the CPU.
`nothing` is such a map without a step; `affine` is rotation, scale, shear and shift together, fused into one
resampling, and `chained` the same as four. Keras's layers need not do quite the same work: its shear and elastic
distortion are others, its crop cuts one window for a whole batch, and none of them repeats itself when calls run in
parallel.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from contest import Rounds, ratios, summary, take_turns, told
from pydantic import TypeAdapter

from pipelines.augmentation import make_augmentation
from pipelines.settings.augmentation import AugmentationStep

BATCH = 128
THREADS = 2
SHAPES = ((28, 28, 1), (32, 32, 3))
AFFINE = [
    {"step": "rotation", "degrees": 10},
    {"step": "scale", "factor": 0.1},
    {"step": "shear", "degrees": 10},
    {"step": "shift", "pixels": 2},
]
STEPS = [
    {"step": "shift_expansion", "pixels": 1},
    *AFFINE,
    {"step": "flip", "axis": "horizontal"},
    {"step": "crop", "padding": 4},
    {"step": "resized_crop"},
    {"step": "elastic", "alpha": 34, "sigma": 4},
    {"step": "pca_colour"},
    {"step": "cutout", "size": 8},
    {"step": "mixup", "alpha": 0.2},
    {"step": "cutmix", "alpha": 1},
]
Way = Callable[[tf.Tensor, tf.Tensor], Any]
"""Prepares a batch of images, given its number."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=60, help="of each step in a round")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tf.config.set_visible_devices([], "GPU")  # images are prepared on the CPU
    found = {"x".join(map(str, shape)): measure(shape, arguments) for shape in SHAPES}
    print(json.dumps(found, indent=2) if arguments.json else in_words(found))


def measure(shape: tuple[int, int, int], arguments: argparse.Namespace) -> dict[str, Any]:
    """Images per second of each step, of Keras's layers, and how many times as fast ours are."""
    images = np.random.default_rng(1).integers(0, 256, (BATCH, *shape), np.uint8)
    ways = our_ways(shape, images) | {f"keras {name}": way for name, way in keras_ways(shape).items()}
    # A map is traced once, here, and not in every round.
    streams = {name: _stream(way, images, arguments.batches) for name, way in ways.items()}
    rounds = take_turns({name: lambda s=stream: _speed(s) for name, stream in streams.items()}, arguments.rounds)
    return {
        name: {
            "images_per_second": summary(speeds),
            "times_keras": _against(rounds, name, f"keras {name}"),
            "times_chained": _against(rounds, name, "chained") if name == "affine" else None,
        }
        for name, speeds in rounds.items()
    }


def our_ways(shape: tuple[int, int, int], images: np.ndarray) -> dict[str, Way]:
    """Each step alone, as training has it done; and the affine ones together."""
    labels = tf.range(BATCH, dtype=tf.int64) % 10

    def way(*steps: dict[str, Any]) -> Way:
        augment = make_augmentation(TypeAdapter(list[AugmentationStep]).validate_python(steps), shape, 10, images)
        return lambda batch, number: augment(batch, labels, labels % 5, tf.stack([number, 0]))

    def chained(batch: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        for one in affine:
            batch, _ = one(batch, number)
        return batch

    affine = [way(step) for step in AFFINE]
    single = {str(step["step"]): way(step) for step in STEPS if step["step"] != "pca_colour" or shape[-1] == 3}
    return {"nothing": way(), **single, "affine": way(*AFFINE), "chained": chained}


def keras_ways(shape: tuple[int, int, int]) -> dict[str, Way]:
    """Keras's layers, by our step's name; `training=True` makes them act."""
    height, width, _ = shape
    fill = {"fill_mode": "constant", "seed": 1}
    labels = tf.one_hot(tf.range(BATCH) % 10, 10)
    affine = {
        "rotation": keras.layers.RandomRotation(10 / 360, **fill),
        "scale": keras.layers.RandomZoom(0.1, 0.1, **fill),
        "shear": keras.layers.RandomShear(0.176, 0.0, **fill),
        "shift": keras.layers.RandomTranslation(2 / height, 2 / width, **fill),
    }
    padding, crop = keras.layers.ZeroPadding2D(4), keras.layers.RandomCrop(height, width, seed=1)
    chains = {
        **{name: [layer] for name, layer in affine.items()},
        "affine": list(affine.values()),
        "flip": [keras.layers.RandomFlip("horizontal", seed=1)],
        "crop": [padding, crop],
        "elastic": [keras.layers.RandomElasticTransform(factor=(1.0, 1.0), scale=(1.0, 1.0), **fill)],
        "cutout": [keras.layers.RandomErasing(1.0, (8 / height, 8 / height), fill_value=0.0, seed=1)],
    }
    mixing = {"mixup": keras.layers.MixUp(0.2, seed=1), "cutmix": keras.layers.CutMix(1.0, seed=1)}

    def chain(layers: list[keras.Layer]) -> Way:
        def way(batch: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
            for layer in layers:
                batch = layer(batch) if layer is padding else layer(batch, training=True)
            return batch

        return way

    def mixed(layer: keras.Layer) -> Way:
        return lambda batch, number: layer({"images": batch, "labels": labels}, training=True)

    return {name: chain(layers) for name, layers in chains.items()} | {
        name: mixed(layer) for name, layer in mixing.items()
    }


def _stream(way: Way, images: np.ndarray, batches: int) -> tf.data.Dataset:
    batch = tf.constant(images, tf.float32)
    numbers = tf.data.Dataset.range(batches + 1, output_type=tf.int32)
    return numbers.map(lambda number: way(batch, number), THREADS)


def _speed(stream: tf.data.Dataset) -> float:
    """Images per second of one pass, after a batch that is not timed."""
    batches = iter(stream)
    next(batches)
    start = time.perf_counter()
    done = sum(1 for _ in batches)
    return done * BATCH / (time.perf_counter() - start)


def _against(rounds: Rounds, name: str, other: str) -> dict[str, float] | None:
    return ratios(rounds[name], rounds[other]) if other in rounds else None


def in_words(found: dict[str, Any]) -> str:
    """For people."""
    lines = []
    for shape, steps in found.items():
        lines += ["", f"{shape + ', images/s':<20}{'median (lowest to highest)':<34}times Keras's layer"]
        for name, row in steps.items():
            times = told(row["times_keras"], ".1f") if row["times_keras"] else ""
            lines.append(f"{name:<20}{told(row['images_per_second']):<34}{times}".rstrip())
        lines.append(f"affine is {told(steps['affine']['times_chained'], '.1f')} times as fast as chained")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    main()
