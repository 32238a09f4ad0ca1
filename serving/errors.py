"""The one exception that a user of `serving` is meant to see."""


class ServingError(Exception):
    """Something the user can mend; the message names the value, what was expected and what to do."""
