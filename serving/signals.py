"""Sound files as what a served model of signals takes: float32 samples at 8 kHz."""

import wave
from pathlib import Path

import numpy as np

from serving.errors import ServingError

RATE = 8_000
"""Samples per second of the signals that models are trained and asked with."""
MOST_MINUTES = 10


def read_wav(path: Path) -> np.ndarray:
    """The samples of a WAV file at 8 kHz: float32 [samples], −1…1, the channels averaged.

    PCM of 8, 16, 24 or 32 bits; another rate is resampled by its Fourier transform, which leaves out what 8 kHz cannot
    hold. Raises ServingError for a file that is no such WAV, is empty, or lasts longer than 10 minutes.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, frames, channels, width = (
                file.getframerate(),
                file.getnframes(),
                file.getnchannels(),
                file.getsampwidth(),
            )
            if rate < 1 or width > 4:
                raise wave.Error(f"{rate} samples of {8 * width} bits a second")
            if frames > MOST_MINUTES * 60 * rate:
                raise ServingError(f"'{path}' lasts {frames / rate / 60:.0f} minutes; at most 10 are taken.")
            data = file.readframes(frames)
    except (wave.Error, EOFError, OSError, RuntimeError) as error:  # wave raises the last for a chunk too short
        reason = str(error) or "it ends too early"
        raise ServingError(f"'{path}' is no WAV file of PCM samples that can be read: {reason}.") from error
    samples = _decoded(data, width)
    samples = samples[: len(samples) // channels * channels].reshape(-1, channels).mean(axis=1)
    if not len(samples):
        raise ServingError(f"'{path}' holds no samples.")
    return _resampled(samples, rate).astype(np.float32)


def loudest_stretch(samples: np.ndarray, length: int) -> np.ndarray:
    """The `length` samples in a row with the most energy, or all of them and silence after: float32 [length, 1]."""
    if len(samples) <= length:
        return np.pad(samples, (0, length - len(samples)))[:, np.newaxis]
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    first = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[first : first + length, np.newaxis]


def _decoded(data: bytes, width: int) -> np.ndarray:
    """PCM samples of `width` bytes as float64, −1…1. 8 bits are unsigned, more are signed and little-endian."""
    data = data[: len(data) // width * width]
    if width == 1:
        return (np.frombuffer(data, np.uint8) - 128.0) / 128
    # The highest bytes of 32-bit numbers, whatever the width.
    wide = np.zeros((len(data) // width, 4), np.uint8)
    wide[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return wide.view("<i4")[:, 0] / 2**31


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    length = max(round(len(samples) * RATE / rate), 1)
    spectrum = np.fft.rfft(samples)[: length // 2 + 1]
    return np.fft.irfft(spectrum, length) * (length / len(samples))
