"""Clips for "speech or not", all of them synthesised: no recording of a voice is among them.

They stand in for recordings where none may be fetched: the dataset is offline, needs no licence, and is the same
everywhere. What a network learns here is to tell a voice's harmonics shaped by formants from other sounds.
"""

import numpy as np

from pipelines.datasets.parts import Loaded, Split
from serving.signals import RATE

SAMPLES = 1_000
"""Of a clip: an eighth of a second, about a syllable."""
TRAIN, TEST = 4_500, 1_000
HIGHEST = 3_900.0
"""Hz; what lies above half the rate cannot be sampled."""
FOURTH = 3_200
"""Hz; the fourth formant lies above this, in every other voice."""
_TIME = np.arange(SAMPLES) / RATE

Random = np.random.Generator


def load_speech_clips() -> Loaded:
    """5,500 clips, half of them "speech": float32 [count, 1000, 1] from −1 to 1, at 8 kHz.

    Speech is a harmonic series at a pitch of 80 to 300 Hz, which glides and trembles a little, shaped by three or four
    formants and by an envelope. What is not speech is, in equal parts, noise of several colours, a tone, a chord,
    clicks, and silence. Loudness varies by 26 dB, whatever the sound, and every clip has noise in its background, so
    that energy alone does not tell the classes apart. The seed is fixed.
    """
    random = np.random.Generator(np.random.PCG64(8_000))
    labels = random.permutation(np.arange(TRAIN + TEST) % 2)
    clips = np.zeros((len(labels), SAMPLES))
    speech, others = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    clips[speech] = _voices(random, len(speech))
    kinds = (_noises, _tones, _chords, _clicks)
    for i, kind in enumerate(kinds):
        chosen = others[i :: len(kinds) + 1]  # what is left over stays silent
        clips[chosen] = kind(random, len(chosen))
    clips = _at_unit_power(clips) * _decibels(random.uniform(-40, -14, (len(clips), 1)))
    power = np.sqrt(np.mean(clips**2, axis=1, keepdims=True))
    ratio = _decibels(-random.uniform(5, 30, power.shape))
    faint = _decibels(random.uniform(-60, -40, power.shape))
    clips += _coloured_noises(random, len(clips)) * np.where(power > 0, power * ratio, faint)
    # Through 16 bits, as a recording: rounding also hides in what processors' sines differ.
    quantised = np.clip(np.round(clips * 32_768), -32_768, 32_767).astype(np.int16)
    signals = (quantised / np.float32(32_768))[..., np.newaxis]
    return (
        Split(signals[:TRAIN], labels[:TRAIN].astype(np.int64)),
        Split(signals[TRAIN:], labels[TRAIN:].astype(np.int64)),
        ("not speech", "speech"),
    )


def _voices(random: Random, count: int) -> np.ndarray:
    """Voiced speech by source and filter: harmonics of the pitch, weighted by the response of the vocal tract."""
    pitch = np.exp(random.uniform(np.log(80), np.log(300), (count, 1)))
    glide = random.uniform(-0.25, 0.25, (count, 1)) * (_TIME / _TIME[-1] - 0.5)
    frequency = pitch * (1 + glide + random.normal(0, 0.02, (count, SAMPLES)))
    phase = 2 * np.pi * (random.random((count, 1)) + np.cumsum(frequency, axis=1) / RATE)

    harmonic = np.arange(1, int(HIGHEST / 80) + 1)
    place = harmonic * pitch
    tilt = random.uniform(0.8, 1.6, (count, 1))  # a glottal pulse falls by about 6 dB an octave once it leaves the lips
    heights = np.where(place * 1.15 < HIGHEST, harmonic**-tilt, 0.0) * _vocal_tract(random, place)
    return _harmonic_series(phase, heights) * _envelopes(random, count)


def _vocal_tract(random: Random, frequency: np.ndarray) -> np.ndarray:
    """The gain of three or four formants at each of the clips' frequencies (Hz): [clips, frequencies].

    Each formant is a resonance of second order, of the height that its bandwidth gives it.
    """
    gain = np.ones_like(frequency)
    one_each = (len(frequency), 1)
    for low, high in ((250, 850), (900, 2_200), (2_300, 3_000), (FOURTH, 3_700)):
        formant, width = random.uniform(low, high, one_each), random.uniform(50, 150, one_each)
        present = random.random(one_each) < (0.5 if low == FOURTH else 1.0)
        gain *= np.where(present, formant**2 / np.hypot(formant**2 - frequency**2, width * frequency), 1.0)
    return gain


def _harmonic_series(phase: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The sum over k of height k · sin(k · phase), by sin(kx) = 2 cos(x) sin((k − 1)x) − sin((k − 2)x)."""
    total = np.empty_like(phase)
    block = 32  # clips whose arrays stay in the processor's cache
    for first in range(0, len(phase), block):
        here = slice(first, first + block)
        before, sine, twice_cosine = np.zeros_like(phase[here]), np.sin(phase[here]), 2 * np.cos(phase[here])
        series = np.zeros_like(sine)
        for height in heights[here].T:
            series += height[:, np.newaxis] * sine
            before, sine = sine, twice_cosine * sine - before
        total[here] = series
    return total


def _noises(random: Random, count: int) -> np.ndarray:
    return _coloured_noises(random, count) * _envelopes(random, count)


def _coloured_noises(random: Random, count: int) -> np.ndarray:
    """Noise whose power goes as f (blue), 1 (white), 1/f (pink) or 1/f² (brown); its mean square is 1."""
    frequency = np.fft.rfftfreq(SAMPLES)
    colour = random.choice([-1.0, 0.0, 1.0, 2.0], (count, 1))
    bins = random.normal(size=(count, len(frequency))) + 1j * random.normal(size=(count, len(frequency)))
    bins[:, 1:] *= frequency[1:] ** (-colour / 2)
    bins[:, 0] = 0
    return _at_unit_power(np.fft.irfft(bins, SAMPLES, axis=1))


def _tones(random: Random, count: int) -> np.ndarray:
    return _sines(random, count) * _envelopes(random, count)


def _chords(random: Random, count: int) -> np.ndarray:
    """Two to five tones that have no pitch in common."""
    more = random.integers(2, 6, (count, 1))
    tones = [_sines(random, count) * random.uniform(0.3, 1, (count, 1)) for _ in range(5)]
    return np.sum([np.where(i < more, tone, 0.0) for i, tone in enumerate(tones)], axis=0) * _envelopes(random, count)


def _sines(random: Random, count: int) -> np.ndarray:
    frequency = np.exp(random.uniform(np.log(100), np.log(HIGHEST), (count, 1)))
    return np.sin(2 * np.pi * (frequency * _TIME + random.random((count, 1))))


def _clicks(random: Random, count: int) -> np.ndarray:
    """One to some ten clicks at random moments, each a burst that dies away within 0.2 to 3 ms."""
    rate = random.uniform(1, 10, (count, 1)) / SAMPLES
    strikes = random.normal(size=(count, SAMPLES)) * (random.random((count, SAMPLES)) < rate)
    strikes[np.arange(count), random.integers(0, SAMPLES, count)] = 1.0
    decay = np.exp(-_TIME / np.exp(random.uniform(np.log(2e-4), np.log(3e-3), (count, 1))))
    burst = decay * random.normal(size=(count, SAMPLES))
    length = 2 * SAMPLES  # so that the end of a burst does not come round to the beginning
    product = np.fft.rfft(strikes, length, axis=1) * np.fft.rfft(burst, length, axis=1)
    return np.fft.irfft(product, length, axis=1)[:, :SAMPLES]


def _envelopes(random: Random, count: int) -> np.ndarray:
    """A rise within 5 to 40 ms after up to 20 ms, and a fall to an end within the last 40 ms or beyond the clip."""
    start, rise = random.uniform(0, 0.02, (count, 1)), random.uniform(0.005, 0.04, (count, 1))
    end, fall = random.uniform(0.085, 0.165, (count, 1)), random.uniform(0.005, 0.04, (count, 1))
    ramp = np.clip((_TIME - start) / rise, 0, 1) * np.clip((end - _TIME) / fall, 0, 1)
    return np.sin(np.pi / 2 * ramp) ** 2


def _at_unit_power(clips: np.ndarray) -> np.ndarray:
    """Each clip with a mean square of 1; silence stays silent."""
    power = np.sqrt(np.mean(clips**2, axis=1, keepdims=True))
    return clips / np.where(power > 0, power, 1.0)


def _decibels(level: np.ndarray) -> np.ndarray:
    return 10 ** (level / 20)
