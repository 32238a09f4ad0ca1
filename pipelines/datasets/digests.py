"""Digests of datasets, each loaded once and not kept."""

import json
from typing import Any

from pipelines.datasets import load_dataset
from pipelines.errors import PipelineError


class Digests:
    """What is known of the datasets that were asked for so far."""

    def __init__(self) -> None:
        self._known: dict[str, str | PipelineError] = {}

    def of(self, options: dict[str, Any]) -> str:
        """Of the dataset that `load_dataset` loads with these options. Raises PipelineError where it cannot."""
        key = json.dumps(options)
        if key not in self._known:
            try:
                self._known[key] = load_dataset(**options).digest
            except PipelineError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, PipelineError):
            raise found
        return found
