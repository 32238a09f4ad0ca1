"""Image files as what a served model takes: PNG bytes."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from serving.errors import ServingError

# A decompression bomb is refused by its header, before a pixel of it is decoded.
MOST_PIXELS = 50_000_000


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of one image: uint8 [height, width, 1 or 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files that `paths` name; a folder stands for the image files in it, by name and not recursively.

    Raises ServingError for a path that does not exist and for a folder without images.
    """
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in known and p.is_file())
            if not inside:
                raise ServingError(f"The folder '{path}' has no image files in it.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ServingError(f"There is no file or folder '{path}'.")
    return found


def read_as_png(path: Path, *, invert: bool = False) -> bytes:
    """Any image file that Pillow reads, turned upright and encoded as an 8-bit grey or RGB PNG of its own size.

    Transparent parts become white, the colour of paper. `invert` swaps light and dark. Raises ServingError for a file
    that is no image, is broken, or has more than 50 million pixels.
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ServingError(f"'{path}' has {opened.width}x{opened.height} pixels; at most 50 million are taken.")
            image = _plain(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ServingError(f"'{path}' is no image file that can be read; expected PNG, JPEG or the like.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ServingError(f"The image '{path}' is broken or cannot be read: {error}.") from error
    stream = io.BytesIO()
    (ImageOps.invert(image) if invert else image).save(stream, "PNG")
    return stream.getvalue()


def _plain(image: Image.Image) -> Image.Image:
    """8-bit grey (L) or RGB, without transparency."""
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        values = np.asarray(image, np.float64)
        top = 65_535 if values.max() > 255 else 255
        return Image.fromarray(np.clip(values * (255 / top), 0, 255).round().astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        return image if _has_colour(image) else image.convert("L")
    return image.convert("L") if image.mode in ("1", "L") else image.convert("RGB")


def _has_colour(image: Image.Image) -> bool:
    red, green, blue = np.moveaxis(np.asarray(image), -1, 0)
    return not (np.array_equal(red, green) and np.array_equal(green, blue))
