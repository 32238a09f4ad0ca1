"""How much memory a search takes as it goes on, trial by trial in one process.

    python benchmarks/tuning_memory.py [--trials 101] [--json]

`zoo tune` on a tiny network and the digits of scikit-learn, one epoch a trial. What is told is the process's resident
memory when a trial has ended, in MB, and how much it has grown from trial 20 to trial 100.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TINY = ["network.arguments.filters=[4,6]", "network.arguments.dense_units=[16]", "epochs=1"]
SPACE = "search={optimizer.learning_rate: {min: 1e-3, max: 1e-2, sampling: log}, batch_size: [32, 64, 128]}"
FROM, TO = 20, 100


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TO + 1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    memory = measure(arguments.trials)
    growth = memory[TO] / memory[FROM] - 1 if TO in memory else None
    if arguments.json:
        print(json.dumps({"megabytes": memory, "growth": growth}))
        return
    for number in sorted(memory)[::10]:
        print(f"trial {number:3}: {memory[number]:.0f} MB")
    if growth is not None:
        print(f"from trial {FROM} to trial {TO}: {100 * growth:+.1f} %")


def measure(trials: int) -> dict[int, float]:
    """Megabytes after each trial of a search in a home of its own."""
    command = [sys.executable, "-m", "pipelines.cli", "tune", "digits_cnn", "--trials", str(trials), "--seeds", "0"]
    for setting in (*TINY, SPACE):
        command += ["--set", setting]
    memory: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "ZOO_HOME": home}
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment}
        with subprocess.Popen(command, **options) as process:  # type: ignore[call-overload]
            for line in process.stderr:
                said = re.match(r"trial (\d+), \d+ of \d+: ", line)
                if said:
                    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                    memory[int(said[1])] = pages * os.sysconf("SC_PAGESIZE") / 1e6
    if len(memory) != trials:
        raise SystemExit(f"{len(memory)} of {trials} trials have ended; the search failed.")
    return memory


if __name__ == "__main__":
    main()
