"""Training images per second: the recipe path against plain Keras, PyTorch and the machine's arithmetic.

    ZOO_DATA_DIR=… python benchmarks/training.py [--torch-python PATH] [--rounds 3] [--json]

All train the network `mnist_cnn_dropout` on MNIST in mini-batches of 128 with AdamW, each in a process of its own:

- plain: `model.fit` on float arrays in memory, as Keras's documentation has it;
- ours: the recipe `mnist_cnn` without its augmentation, by the path of `zoo train`;
- bfloat16: the same with --set precision=mixed_bfloat16, which pays on CPUs that compute in it;
- augmented: the recipe as it is, with shift, rotation, scale and shear;
- torch: PyTorch, eager, channels last, by the Python that --torch-python names (it needs torch and numpy);
- limit: no training but a product of large matrices. Divided by the multiplications and additions of a training step,
  it is what the arithmetic of this machine could do at best.

A measurement leaves out the first epoch, which compiles, and validation. It wants an idle machine: PyTorch's threads
wait for one another, and another program that takes a core now and then costs it more than TensorFlow.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contest import ask, ratios, summary, take_turns, told

RECIPE = "mnist_cnn"
BATCH = 128
VALIDATION = 256
MATRIX = 2048
PASSES = 3
"""Forward, gradients of the layers' inputs, gradients of their weights."""


def main() -> None:
    """Measure, or as a worker do one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", type=Path, help="a Python with torch and numpy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=120 * BATCH, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="that are measured; one more goes before them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=("plain", "ours", "bfloat16", "augmented", "limit"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    from serving.quiet import import_tensorflow

    import_tensorflow()
    if arguments.worker:
        print(json.dumps(WORKERS[arguments.worker](arguments.images, arguments.epochs)))
        return
    found = measure(arguments)
    print(json.dumps(found, indent=2) if arguments.json else in_words(found))


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All contestants in turn: images per second, and ours against the others."""
    from pipelines.provenance import machine

    size = ["--images", str(arguments.images), "--epochs", str(arguments.epochs)]
    with tempfile.TemporaryDirectory() as folder:
        contestants = {name: partial(ask, [sys.executable, __file__, "--worker", name, *size]) for name in WORKERS}
        if arguments.torch_python:
            data = Path(folder) / "data.npz"
            train = load(arguments.images).train
            np.savez(data, images=train.images, labels=train.labels)
            worker = [str(arguments.torch_python), str(Path(__file__).with_name("torch_worker.py"))]
            contestants["torch"] = partial(ask, [*worker, str(data), str(BATCH), str(arguments.epochs)])
        reached = take_turns(contestants, arguments.rounds)
    ours = reached["ours"]
    others = [name for name in ("plain", "torch", "limit") if name in reached]
    cost = [100 * (1 - a / b) for a, b in zip(reached["augmented"], ours, strict=True)]
    return {
        "machine": machine(),
        "rounds": arguments.rounds,
        "images_per_second": {name: summary(values) for name, values in reached.items()},
        "ours_by": {name: ratios(ours, reached[name]) for name in others},
        "bfloat16_by": {name: ratios(reached["bfloat16"], reached[name]) for name in others},
        "augmentation_costs_percent": summary(cost),
    }


def in_words(found: dict[str, Any]) -> str:
    """The outcome for people."""
    lines = [f"{found['machine']}; {found['rounds']} rounds, median (lowest to highest)", "", "images/s"]
    lines += [f"  {name:<10}{told(values)}" for name, values in found["images_per_second"].items()]
    if "torch" not in found["images_per_second"]:
        lines.append("  torch     not measured: name a Python that has it with --torch-python")
    lines += ["", "ours by"]
    lines += [f"  {name:<10}{told(values, '.2f')}" for name, values in found["ours_by"].items()]
    lines += ["", "in bfloat16 by"]
    lines += [f"  {name:<10}{told(values, '.2f')}" for name, values in found["bfloat16_by"].items()]
    lines += ["", f"augmentation costs {told(found['augmentation_costs_percent'], '.1f')} %"]
    return "\n".join(lines)


def load(images: int) -> Any:
    """MNIST with so many training images and few for validation."""
    from pipelines.datasets import Split, load_dataset

    def first(split: Split, count: int) -> Split:
        return Split(split.images[:count], split.labels[:count])

    data = load_dataset("mnist")
    return replace(data, train=first(data.train, images), validation=first(data.validation, VALIDATION))


def plain(images: int, epochs: int) -> float:
    """Images per second of `model.fit` on arrays."""
    import keras

    import zoo
    from pipelines.recipes import load_recipe

    data, recipe = load(images), load_recipe(RECIPE)
    model = zoo.create_model(recipe.network.name, **recipe.network.arguments)
    model.compile(
        optimizer=keras.optimizers.AdamW(recipe.optimizer.learning_rate, weight_decay=recipe.optimizer.weight_decay),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    watch = stopwatch()
    model.fit(
        data.train.images.astype("float32"),
        data.train.labels,
        batch_size=BATCH,
        epochs=epochs + 1,
        callbacks=[watch],
        verbose=0,
    )
    return rate(watch, images)


def ours(images: int, epochs: int) -> float:
    """Images per second of the recipe path, without augmentation."""
    return recipe_path(images, epochs, augmentation=[])


def bfloat16(images: int, epochs: int) -> float:
    """Images per second of the recipe path, without augmentation and in mixed precision."""
    return recipe_path(images, epochs, augmentation=[], precision="mixed_bfloat16")


def augmented(images: int, epochs: int) -> float:
    """Images per second of the recipe path."""
    return recipe_path(images, epochs)


def recipe_path(images: int, epochs: int, **changes: Any) -> float:
    """Images per second of the recipe with some fields changed."""
    from pipelines.recipes import load_recipe
    from pipelines.training import fit

    recipe = load_recipe(RECIPE).override({"epochs": epochs + 1, "batch_size": BATCH, **changes})
    watch = stopwatch()
    fit(recipe, load(images), [watch])
    return rate(watch, images)


def limit(images: int, epochs: int) -> float:
    """Images per second if all arithmetic went as fast as a product of large matrices."""
    import tensorflow as tf

    import zoo
    from pipelines.recipes import load_recipe
    from zoo.anatomy import anatomy, totals

    network = load_recipe(RECIPE).network
    multiplications = totals(anatomy(zoo.create_model(network.name, "serving", **network.arguments))).multiplications
    a, b = tf.random.normal((MATRIX, MATRIX)), tf.random.normal((MATRIX, MATRIX))
    product = tf.function(lambda: tf.reduce_sum(tf.linalg.matmul(a, b)))
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        product().numpy()
        seconds.append(time.perf_counter() - begun)
    return MATRIX**3 / min(seconds) / (PASSES * multiplications)


WORKERS = {"plain": plain, "ours": ours, "bfloat16": bfloat16, "augmented": augmented, "limit": limit}


def stopwatch() -> Any:
    """A Keras callback that takes the time of each epoch's steps, in `seconds`."""
    import keras

    class Stopwatch(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []
            self.begun: float | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter()

        def on_test_begin(self, logs: Any = None) -> None:
            self.stop()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.stop()

        def stop(self) -> None:
            if self.begun is not None:
                self.seconds.append(time.perf_counter() - self.begun)
                self.begun = None

    return Stopwatch()


def rate(watch: Any, images: int) -> float:
    """Images per second over all epochs but the first."""
    return (len(watch.seconds) - 1) * (images // BATCH * BATCH) / sum(watch.seconds[1:])


if __name__ == "__main__":
    main()
