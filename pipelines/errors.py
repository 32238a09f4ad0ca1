"""The exceptions that a user of the pipelines is meant to see, each one clear sentence."""


class PipelineError(Exception):
    """It failed: the message names the value, what was expected and what to do. The command ends with status 1."""

    status = 1


class UsageError(PipelineError):
    """It was called wrongly. The command ends with status 2."""

    status = 2


class Stopped(PipelineError):  # noqa: N818 (no error of the work)
    """The work was ended from outside, through no fault of its own, and can be gone on with."""


def reason_of(error: Exception) -> str:
    """Why something failed: a sentence that was written for its user stands for itself."""
    return str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
