"""What a check of `zoo doctor` comes to."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]
"""All is well; something is missing that is not needed everywhere; something will not work until it is mended."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    """Of what was looked at."""
    level: Level
    found: str
    """What is there, in half a sentence."""
    advice: str = ""
    """What to do, in a sentence; empty where nothing is to be done."""
