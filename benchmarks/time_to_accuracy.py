"""Time to 99.0 and 99.5 % on MNIST's test images: recipes against the convnet of Keras's documentation.

    ZOO_DATA_DIR=… python benchmarks/time_to_accuracy.py [--recipe RECIPE]… [--seeds 3] [--json]

Theirs is "Simple MNIST convnet" (keras.io/examples/vision/mnist_convnet), written out with plain Keras: two 3x3
convolutions of 32 and 64 filters, dropout 0.5, Adam, batches of 128, 15 epochs, a tenth of the training images for
validation. Ours are recipes, by name or file, by the path of `zoo train`; by default `mnist_cnn_fast` and `mnist_cnn`.

The clock runs from data in memory to the end of the first epoch with that test accuracy, with building, compiling and
validation; it stands still while the test images are asked. Test accuracy decides nothing in any of the trainings:
settings are to be chosen by validation. Each training is a process of its own, and they take turns, seed by seed.
"""

import argparse
import json
import sys
import time
from typing import Any

from contest import ask, summary, told

RECIPES, THEIRS = ("mnist_cnn_fast", "mnist_cnn"), "documentation"
TARGETS = (0.990, 0.995)
EPOCHS, BATCH = 15, 128
"""Of the documentation's recipe."""
Curve = list[tuple[float, float, float]]
"""Of each epoch: seconds to its end, validation accuracy, test accuracy."""


def main() -> None:
    """Measure, or as a worker train once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help="a recipe's name or file; may be given again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    from serving.quiet import import_tensorflow

    import_tensorflow()
    if arguments.worker:
        print(
            json.dumps(theirs(arguments.seed) if arguments.worker == THEIRS else ours(arguments.worker, arguments.seed))
        )
        return
    found = measure(arguments.recipe or list(RECIPES), arguments.seeds)
    print(json.dumps(found, indent=2) if arguments.json else in_words(found))


def measure(recipes: list[str], seeds: int) -> dict[str, Any]:
    """Train all with every seed; when each reached the targets, and how their times compare."""
    from pipelines.provenance import machine

    curves: dict[str, list[Curve]] = {name: [] for name in (*recipes, THEIRS)}
    for seed in range(1, seeds + 1):
        for name in curves:
            curve = ask([sys.executable, __file__, "--worker", name, "--seed", str(seed)])
            curves[name].append(curve)
            seconds, validation, test = curve[-1]
            print(
                f"{name}, seed {seed}: {len(curve)} epochs in {seconds:.1f} s, validation accuracy "
                f"{100 * validation:.2f} %, test accuracy {100 * test:.2f} %",
                file=sys.stderr,
            )
    reached = {
        f"{100 * target:.1f}": {
            name: [first_time(curve, target) for curve in of_seeds] for name, of_seeds in curves.items()
        }
        for target in TARGETS
    }
    return {
        "machine": machine(),
        "seeds": seeds,
        "seconds": reached,
        "share_of_documentation": {target: shares(seconds) for target, seconds in reached.items()},
        "curves": curves,
    }


def first_time(curve: Curve, target: float) -> float | None:
    """Seconds to the end of the first epoch with that test accuracy; None where there was none."""
    return next((seconds for seconds, _, test in curve if test >= target), None)


def shares(seconds: dict[str, list[float | None]]) -> dict[str, dict[str, float]]:
    """Each recipe's time as a share of theirs, seed by seed, where both came there with every seed."""
    found = {}
    for name, mine in seconds.items():
        pairs = list(zip(mine, seconds[THEIRS], strict=True))
        if name != THEIRS and all(a and b for a, b in pairs):
            found[name] = summary([a / b for a, b in pairs if a and b])
    return found


def in_words(found: dict[str, Any]) -> str:
    """The outcome for people."""
    lines = [f"{found['machine']}; {found['seeds']} seeds, median (lowest to highest)"]
    for target, seconds in found["seconds"].items():
        lines += ["", f"seconds to {target} %"]
        for name, of_seeds in seconds.items():
            times = [time for time in of_seeds if time is not None]
            text = told(summary(times), ".1f") if times else "not reached"
            if times and len(times) < len(of_seeds):
                text += f"; not reached with {len(of_seeds) - len(times)} of {len(of_seeds)} seeds"
            if share := found["share_of_documentation"][target].get(name):
                text += f"; {told(share, '.2f')} of the documentation's"
            lines.append(f"  {name:<28}{text}")
    return "\n".join(lines)


def ours(name: str, seed: int) -> Curve:
    """Train the recipe."""
    from pipelines.recipes import load_recipe
    from pipelines.training import fit, load_for

    recipe = load_recipe(name).override({"seed": seed})
    data = load_for(recipe)
    clock = make_clock(data.test.images.astype("float32"), data.test.labels)
    fit(recipe, data, [clock])
    return clock.curve


def theirs(seed: int) -> Curve:
    """Train the documentation's network."""
    import keras
    import numpy as np
    from keras import layers

    from pipelines.datasets import load_dataset

    data = load_dataset("mnist", validation=1)  # the whole training set: the documentation holds out its own part
    x_train = np.concatenate([data.train.images, data.validation.images])
    y_train = np.concatenate([data.train.labels, data.validation.labels])
    keras.utils.set_random_seed(seed)
    x_test = data.test.images.astype("float32") / 255
    clock = make_clock(x_test, data.test.labels)
    x_train = x_train.astype("float32") / 255
    y_train = keras.utils.to_categorical(y_train, 10)
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, validation_split=0.1, callbacks=[clock], verbose=0)
    return clock.curve


def make_clock(test_images: Any, test_labels: Any) -> Any:
    """A Keras callback whose time begins now. At each epoch's end it stops the clock and asks the test images."""
    import keras
    import numpy as np

    class Clock(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.curve: Curve = []
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            stopped = time.perf_counter()
            scores = keras.tree.flatten(self.model.predict(test_images, batch_size=1000, verbose=0))[0]
            accuracy = float(np.mean(np.argmax(scores, axis=-1) == test_labels))
            self.curve.append((stopped - self.begun, float((logs or {})["val_accuracy"]), accuracy))
            self.begun += time.perf_counter() - stopped

    return Clock()


if __name__ == "__main__":
    main()
