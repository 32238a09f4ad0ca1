"""How many trials an hour a search finishes: with one worker of one thread, two of them, and one of two threads.

    python benchmarks/tuning.py [--trials 12] [--rounds 3] [--json]

The very same trials of `digits_cnn` (same seeds, learning rate and weight decay varied, which cost nothing) are trained
by `zoo tune` in three ways, which take turns. An hour is counted from the beginning of the first trial to the end of
the last, as MLflow has them: without the start of the processes, which weighs little in a search of an hour, and with
what lies between two trials.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

SPACE = "search={optimizer.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}}"
WAYS = {"one worker, one thread": (1, 1), "two workers, one thread each": (2, 1), "one worker, two threads": (1, 2)}
"""Workers and threads of each."""
BASE = next(iter(WAYS))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(1, arguments.rounds + 1):
        for way, (workers, threads) in WAYS.items():
            rates[way].append(trials_an_hour(arguments.trials, workers, threads))
            print(f"round {number}, {way}: {rates[way][-1]:.0f} trials an hour", file=sys.stderr, flush=True)
    found = {
        way: {
            "trials_an_hour": statistics.median(values),
            "times_the_first": [value / first for value, first in zip(values, rates[BASE], strict=True)],
        }
        for way, values in rates.items()
    }
    print(json.dumps(found, indent=2) if arguments.json else in_words(found))


def trials_an_hour(trials: int, workers: int, threads: int) -> float:
    """Of one search, in a home of its own."""
    from pipelines.tracking import search_runs

    command = [sys.executable, "-m", "pipelines.cli", "tune", "digits_cnn", "--trials", str(trials), "--seeds", "0"]
    command += ["--set", SPACE, "--workers", str(workers), "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as home:
        os.environ["ZOO_HOME"] = home
        subprocess.run(command, check=True, capture_output=True)
        runs = search_runs("tags.`zoo.kind` = 'trial' and attributes.status = 'FINISHED'")
    if len(runs) != trials:
        raise SystemExit(f"{len(runs)} of {trials} trials have finished.")
    span = max(run.info.end_time for run in runs) - min(run.info.start_time for run in runs)
    return 3_600_000 * trials / span


def in_words(found: dict[str, Any]) -> str:
    """A line for each way."""
    lines = []
    for way, numbers in found.items():
        ratios = numbers["times_the_first"]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times the first"
        lines.append(f"{way:30} {numbers['trials_an_hour']:6.0f} trials an hour, {ratio}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
