"""Addresses as they may be shown: a password in one is for the server that it is meant for."""

import re

_PASSWORD = re.compile(r"""(://[^\s/@:\["']*):(?:[^\s/]*|(?!\d{1,5}/)\S*)@""")
"""Up to the last @ before a slash; or, as SQLAlchemy reads it, with slashes, unless what stands there is a port."""


def without_passwords(text: str) -> str:
    """A text with `…` for the password of each address in it that has one, as in `http://user:<password>@host`."""
    return _PASSWORD.sub(r"\1:…@", text)


def on_one_line(text: str, most: int = 300) -> str:
    """What somebody else's error says, on one line of at most so many characters, and without passwords.

    They are left out before it is cut: half an address would not be known for one.
    """
    return without_passwords(" ".join(text.split()))[:most]
