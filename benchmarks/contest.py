"""What the benchmarks share: contestants that are measured in turn, and how the outcome is told.

Numbers of different minutes do not compare on a machine that others use too. So contestants take turns, a round after
the other, and what is reported of two of them is the ratio within each round: its median, lowest and highest.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rounds = dict[str, list[float]]


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """What each contestant reached in each round; every round begins with another one."""
    names = list(contestants)
    reached: Rounds = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            reached[name].append(contestants[name]())
            print(f"round {turn + 1} of {rounds}: {name} {reached[name][-1]:,.0f}", file=sys.stderr)
    return reached


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """How many times as much as theirs ours is, round by round."""
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


def told(found: Mapping[str, float], form: str = ",.0f") -> str:
    """`4,600 (4,500 to 4,700)`."""
    return f"{found['median']:{form}} ({found['lowest']:{form}} to {found['highest']:{form}})"


def ask(command: Sequence[str]) -> Any:
    """What a worker, a process of its own, prints as JSON on its last line."""
    done = subprocess.run(list(command), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])
