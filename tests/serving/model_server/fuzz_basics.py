"""What the cases of the fuzz run are made of: requests, damage, right inputs, and images good and bad."""

import io
import struct
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

# Each signature with a right value for each of its inputs. (`slow` is left out: it counts as far as it is told.)
SIGNATURES = {
    ("half", ""): {"x": np.float32([1, 2])},
    ("many", "serving_default"): {"x": np.float32([1]), "n": np.int64([2])},
    ("many", "strings"): {"s": np.array([b"a", b"\xff"], object)},
    ("many", "text"): {"s": np.array([b"a"], object)},
    ("many", "integers"): {"k": np.int32([3])},
    ("many", "bytes8"): {"k": np.uint8([[3, 4]])},
    ("many", "booleans"): {"b": np.array([True])},
    ("many", "doubles"): {"d": np.float64([1e300])},
    ("many", "floats"): {"x": np.float32([[1]])},
    ("many", "mean"): {"x": np.float32([1])},
    ("many", "uneven"): {"x": np.float32([1, 2])},
    ("many", "halves"): {"x": np.float32([1])},
    ("many", "pair"): {"x": np.float32([1, 2])},
    ("image", ""): {"image": np.zeros((1, 8, 8, 1), np.uint8)},
}
NAMES = ("half", "many", "image", "judging", "", "nope", "HALF", "half\0", "../half", "ü", "n" * 3000)


@dataclass(frozen=True)
class Rest:
    """A request over HTTP; `target` is its path as it goes over the wire, `answer` the right one, where it has one."""

    target: str
    body: bytes = b""
    method: str = "POST"
    headers: dict[str, str | bytes] = field(default_factory=dict)
    answer: dict[str, list[float]] | None = None


@dataclass(frozen=True)
class Rpc:
    """A message to a gRPC method, which may be none."""

    path: str
    body: bytes


def damaged(rng, data):
    """Bytes with bits flipped, or bytes put in, taken out or said again; or cut off at any place."""
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data) + 1)]
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 10))):
        place, other = (rng.randrange(len(data) + 1) for _ in range(2))
        change = rng.randrange(5)
        if change < 2 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif change == 2:
            data[place:place] = rng.randbytes(rng.choice((1, 2, 8)))
        elif change == 3:
            del data[place : place + rng.choice((1, 2, 8))]
        else:
            data[place:place] = data[other : other + rng.choice((1, 4, 16))] * rng.choice((1, 1, 50))
    return bytes(data)


def _png(width, height, rows, *, depth=8):
    """A grey PNG that announces these sides, and has the bytes of these rows."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def _encoded(kind, mode, **options):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(30, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


_JPEG = _encoded("JPEG", "L")
_JPEG_SIDES = _JPEG.index(b"\xff\xc0") + 5
LARGE_IMAGE = _png(6000, 6000, bytes(751 * 6000), depth=1)
GOOD_IMAGES = [
    *(_encoded("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(_encoded("JPEG", mode, progressive=True) for mode in ("L", "RGB", "CMYK")),
    _JPEG,
    _png(1, 1, b"\0\0"),
    _png(4, 3, bytes(27), depth=16),
    _png(1000, 1000, bytes(126 * 1000), depth=1),
]
BAD_IMAGES = [
    # Decompression bombs: those that announce more than they have, and a real one of 144 million pixels in 140 kB.
    _png(60_000, 60_000, bytes(100)),
    _png(12_000, 12_000, bytes(12_001 * 12_000)),
    _png(2**31 - 1, 2**31 - 1, b""),
    _png(2**32 - 1, 2**32 - 1, b""),
    _png(8, 8, bytes(2**24)),
    b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + bytes(6) + b"\x2c" + bytes(20),
    b"BM" + struct.pack("<IIIIiiHHIIiiII", 200, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    _JPEG[:_JPEG_SIDES] + b"\xff" * 4 + _JPEG[_JPEG_SIDES + 4 :],
    # What is no image, or of a kind that is not taken.
    _png(0, 0, b""),
    _encoded("GIF", "P"),
    _encoded("BMP", "RGB"),
    b"",
    b"\0",
    b"no image",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
]


def some_images(rng):
    """A batch of good and bad ones."""
    images = []
    for _ in range(rng.choice((1, 1, 2, 5))):
        good = rng.choice(GOOD_IMAGES)
        images.append(rng.choice((good, good, damaged(rng, good), damaged(rng, good), rng.choice(BAD_IMAGES))))
    return images
