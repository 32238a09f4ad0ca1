"""Config files in protobuf's text format."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.model_server.errors import invalid_argument


def read_text(flag: str, path: str) -> str:
    """The text of the file that a flag names; raises ServerError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise invalid_argument(f"Cannot read --{flag}={path}: {reason}.") from None


def parse_text(text: str, message: Any) -> Any:
    """Fills a message from its text format; raises ServerError naming line and column where it does not parse."""
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        name = message.DESCRIPTOR.full_name
        raise invalid_argument(f"Error parsing text-format {name}: {error}") from None


def read_message(flag: str, path: str, message: Any) -> Any:
    """Fills a message from the file that a flag names; raises ServerError."""
    return parse_text(read_text(flag, path), message)
