"""What the commands share of the terminal."""

import json
import sys
from typing import Any, NoReturn

from rich.console import Console

from pipelines.passwords import without_passwords

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """One sentence on standard error; passwords in addresses are left out."""
    err.print(f"[red]Error:[/red] {_escaped(without_passwords(sentence))}")


def fail(sentence: str, status: int) -> NoReturn:
    """End the command with one sentence on standard error."""
    complain(sentence)
    sys.exit(status)


def print_json(value: Any) -> None:
    """A result for machines, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def percent(share: float) -> str:
    """0.9875 as `98.75 %`."""
    return f"{100 * share:.2f} %"


def _escaped(text: str) -> str:
    """Brackets in a message are text, not markup."""
    return text.replace("[", r"\[")
