"""What the figures of a search share: how its objective is shown."""

from typing import Literal

import numpy as np

Direction = Literal["min", "max"]
FAR = 3.0
"""Interquartile ranges beyond the quartiles, Tukey's outer fence: what lies further out says no more than that."""


def factor_of(objective: str) -> int:
    """What an objective's values are multiplied with for people: accuracies are shown in percent."""
    return 100 if "accuracy" in objective else 1


def label_of(objective: str) -> str:
    """An objective's name for people, with its unit."""
    name = objective.replace("val_", "validation ").replace("_", " ")
    return f"{name} (%)" if factor_of(objective) == 100 else name


def fence(values: np.ndarray, direction: Direction) -> float:
    """The objective beyond which a trial is far worse than the rest; infinite where there are few, or all are equal."""
    low, high = np.quantile(values, (0.25, 0.75))
    reach = FAR * (high - low)
    if len(values) < 4 or reach == 0:
        return -np.inf if direction == "max" else np.inf
    return float(low - reach if direction == "max" else high + reach)
