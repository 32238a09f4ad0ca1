import contextlib
import struct
import wave

import numpy as np
import pytest

from serving.errors import ServingError
from serving.signals import RATE, loudest_stretch, read_wav


def write(path, samples, *, rate=RATE, width=2):
    """`samples` float [count] or [count, channels], −1…1, as PCM."""
    samples = np.asarray(samples, np.float64)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    scaled = np.clip(
        np.round(samples.reshape(-1) * 2 ** (8 * width - 1)), -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1
    )
    if width == 1:
        data = (scaled + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(value).to_bytes(width, "little", signed=True) for value in scaled)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def tone(hertz, rate, seconds=0.5):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(("width", "error"), [(1, 1 / 100), (2, 1e-4), (3, 1e-6), (4, 1e-6)])
def test_pcm_of_every_width(tmp_path, width, error):
    samples = tone(440, RATE)
    received = read_wav(write(tmp_path / "a.wav", samples, width=width))
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, samples, atol=error)


def test_channels_are_averaged(tmp_path):
    both = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    np.testing.assert_allclose(read_wav(write(tmp_path / "a.wav", both)), np.full(100, 0.125), atol=1e-4)


@pytest.mark.parametrize("rate", [4_000, 11_025, 16_000, 44_100, 48_000])
def test_another_rate_is_resampled(tmp_path, rate):
    """A whole number of periods and of samples, so that the file's ends do not ring."""
    received = read_wav(write(tmp_path / "a.wav", tone(440, rate, 4), rate=rate))
    np.testing.assert_allclose(received, tone(440, RATE, 4), atol=2e-3)


def test_what_8_khz_cannot_hold_is_left_out(tmp_path):
    """Or a tone of 7 kHz would come back as one of 1 kHz."""
    received = read_wav(write(tmp_path / "a.wav", tone(440, 44_100) + tone(7_000, 44_100), rate=44_100))
    np.testing.assert_allclose(received, tone(440, RATE), atol=2e-3)


def test_the_loudest_stretch_is_taken():
    samples = np.full(5_000, 0.01, np.float32)
    samples[3_210:4_210] = 0.5
    stretch = loudest_stretch(samples, 1_000)
    assert stretch.shape == (1_000, 1)
    np.testing.assert_array_equal(stretch[:, 0], samples[3_210:4_210])


def test_what_is_too_short_is_followed_by_silence():
    stretch = loudest_stretch(np.ones(300, np.float32), 1_000)
    assert stretch.shape == (1_000, 1)
    assert stretch.dtype == np.float32
    assert stretch[:300].all()
    assert not stretch[300:].any()


def header(*, rate=RATE, bits=16, data=b"\0\0", kind=1, claims=None):
    block = bits // 8
    fmt = struct.pack("<HHIIHH", kind, 1, rate, rate * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", claims or len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def extensible(path, subformat=1):
    """The same file with a header in the extensible format, after a chunk of an odd size."""
    whole = path.read_bytes()
    fmt = whole[20:36]
    guid = struct.pack("<H", subformat) + bytes.fromhex("000000001000800000aa00389b71")
    longer = b"\xfe\xff" + fmt[2:] + struct.pack("<HHI", 22, int.from_bytes(fmt[14:16], "little"), 0) + guid
    chunks = b"JUNK" + struct.pack("<I", 3) + b"abc\0" + b"fmt " + struct.pack("<I", 40) + longer + whole[36:]
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


@pytest.mark.parametrize("width", [2, 3])
def test_extensible_pcm_is_read_as_plain_pcm_is(tmp_path, width):
    plain = write(tmp_path / "plain.wav", tone(440, RATE, 12), width=width)
    expected = read_wav(plain)
    np.testing.assert_array_equal(read_wav(extensible(plain)), expected)


def test_extensible_floats_are_one_sentence(tmp_path):
    path = extensible(write(tmp_path / "a.wav", tone(440, RATE), width=4), subformat=3)
    with pytest.raises(ServingError, match="is no WAV file of PCM samples that can be read: unknown"):
        read_wav(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no WAV file of PCM samples that can be read: it ends too early"),
        (b"no sound at all, but text", "is no WAV file of PCM samples"),
        (header(kind=3, bits=32), "is no WAV file of PCM samples that can be read: unknown format: 3"),
        (header(data=b""), "holds no samples"),
        (header(rate=0), "is no WAV file"),
        (header(bits=64, data=bytes(8)), "is no WAV file"),
        (header(claims=2 * RATE * 60 * 61), "lasts 61 minutes; at most 10 are taken"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, content, says):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ServingError, match=says) as error:
        read_wav(tmp_path / "a.wav")
    assert f"'{tmp_path / 'a.wav'}'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path):
    whole = write(tmp_path / "a.wav", tone(440, RATE)).read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:-1001])
    received = read_wav(tmp_path / "a.wav")
    assert len(received) == len(tone(440, RATE)) - 501


def test_flipped_bytes_never_give_a_traceback(tmp_path):
    whole, seed = write(tmp_path / "a.wav", tone(440, RATE, 0.01)).read_bytes(), 20_261_121
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for _ in range(500):
        broken = bytearray(whole)
        for place in random.integers(0, 48, 2):
            broken[place] ^= int(random.integers(1, 256))
        (tmp_path / "a.wav").write_bytes(broken)
        with contextlib.suppress(ServingError):
            assert np.isfinite(read_wav(tmp_path / "a.wav")).all()
