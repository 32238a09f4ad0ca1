"""Sound files as what a served model of signals takes: float32 samples at 8 kHz."""

import io
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np

from serving.errors import ServingError

RATE = 8_000
"""Samples per second of the signals that models are trained and asked with."""
MOST_MINUTES = 10
EXTENSIBLE, PCM = b"\xfe\xff", b"\x01\x00"
"""Formats in a WAV header; the first is followed by a sub-format of 16 bytes."""
HEAD = 65_536
"""Bytes within which a file's format is looked for."""
PCM_SUBFORMAT = PCM + bytes.fromhex("000000001000800000aa00389b71")


def read_wav(path: Path) -> np.ndarray:
    """The samples of a WAV file at 8 kHz: float32 [samples], −1…1, the channels averaged.

    PCM of 8, 16, 24 or 32 bits, in the plain or the extensible format; another rate is resampled by its Fourier
    transform, which leaves out what 8 kHz cannot hold. Raises ServingError for a file that is no such WAV, is empty, or
    lasts longer than 10 minutes.
    """
    try:
        with path.open("rb") as opened, wave.open(_in_plain_format(opened), "rb") as file:
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


def _in_plain_format(file: BinaryIO) -> BinaryIO:
    """The file, or a copy whose header calls extensible PCM plain, for `wave` reads no other before Python 3.12."""
    head = bytearray(file.read(HEAD))
    file.seek(0)
    place = 12  # after RIFF, the size, WAVE
    while place < len(head) and head[place : place + 4] != b"fmt ":
        size = int.from_bytes(head[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    if head[place + 8 : place + 10] != EXTENSIBLE or head[place + 32 : place + 48] != PCM_SUBFORMAT:
        return file
    head[place + 8 : place + 10] = PCM
    return io.BytesIO(head + file.read()[HEAD:])


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
