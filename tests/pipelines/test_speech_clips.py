"""The synthesised clips of the dataset speech_clips."""

import numpy as np
import pytest

from pipelines.datasets import load_dataset


@pytest.fixture(scope="module")
def clips():
    return load_dataset("speech_clips")


def test_speech_clips_are_fixed_and_balanced(clips):
    assert [len(part) for part in (clips.train, clips.validation, clips.test)] == [4000, 500, 1000]
    assert clips.input_shape == (1000, 1)
    assert clips.has_signals
    assert clips.class_names == ("not speech", "speech")
    for part in (clips.train, clips.validation, clips.test):
        assert part.images.dtype == np.float32
        assert 0.45 < part.labels.mean() < 0.55
        assert np.abs(part.images).max() <= 1
        # 16 bits, so that processors whose sines differ in the last place agree on the digest.
        np.testing.assert_array_equal(part.images * 32_768, np.round(part.images * 32_768))
    assert clips.digest == "f56f8d694efae5469f884e0e6dd70d69a5469303f486a7e672c8a62a053a083d"


def test_energy_alone_does_not_tell_speech(clips):
    """The best threshold on a clip's energy, whichever side is speech."""
    energy, labels = np.mean(clips.train.images**2, axis=(1, 2)), clips.train.labels
    shares = [np.mean((energy > threshold) == labels) for threshold in np.quantile(energy, np.linspace(0, 1, 201))]
    assert max(*shares, 1 - min(shares)) < 0.65


def test_speech_has_a_pitch_and_formants(clips):
    """A voice's samples repeat after its period; and its power lies in bands that a tone or a noise does not have."""
    clip = clips.train.images[..., 0]
    spectrum = np.abs(np.fft.rfft(clip * np.hanning(1000), axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)
    periods = correlation[:, 8_000 // 300 : 8_000 // 80].max(axis=1) / correlation[:, 0]
    speech = clips.train.labels == 1
    assert np.median(periods[speech]) > 0.6
    # Half of a clip's power in one bin and its neighbours is a tone's, not a voice's.
    peaks = np.sort(spectrum, axis=1)[:, -4:].sum(axis=1) / spectrum.sum(axis=1)
    assert np.quantile(peaks[~speech], 0.9) > 0.9
    assert np.median(peaks[speech]) < 0.8
