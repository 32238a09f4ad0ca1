"""Whether a network is as often right as it is sure: confidence against accuracy, in bins."""

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """Answers in bins of equal width by their confidence, which is the likeliest class's probability.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2. Bin m of M holds confidences above
    (m − 1) / M and up to m / M.
    """

    counts: np.ndarray
    """Answers in each bin: int64 [bins]."""
    confidence: np.ndarray
    """Their mean confidence: float64 [bins], NaN where there are none."""
    accuracy: np.ndarray
    """The share of them that is right: float64 [bins], NaN where there are none."""

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1: |accuracy − confidence| averaged over the answers, bin by bin."""
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float(np.average(gaps, weights=self.counts[filled]))


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Of probabilities float [count, classes] and labels int [count]; count is at least 1."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    inner_edges = np.arange(1, bins) / bins
    places = np.searchsorted(inner_edges, confidence, side="left")
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin has no mean
        means = (np.bincount(places, values, bins) / counts for values in (confidence, right))
        return Calibration(counts, *means)
