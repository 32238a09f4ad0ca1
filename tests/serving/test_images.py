import io

import numpy as np
import pytest
from PIL import Image

from serving.errors import ServingError
from serving.images import encode_png, find_images, read_as_png


def decoded(png):
    return Image.open(io.BytesIO(png))


def grey(size=(28, 20)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8))


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp", "pgm"])
def test_any_lossless_format_gives_the_same_pixels(tmp_path, suffix):
    image = grey()
    image.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(np.asarray(decoded(read_as_png(tmp_path / f"a.{suffix}")).convert("L")), image)


def test_jpeg_and_colour_survive(tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "a.jpg")
    image = decoded(read_as_png(tmp_path / "a.jpg"))
    assert (image.mode, image.size) == ("RGB", (40, 30))
    np.testing.assert_allclose(np.asarray(image)[0, 0], (200, 30, 30), atol=3)


def test_a_photograph_lying_on_its_side_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    grey((30, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert decoded(read_as_png(tmp_path / "a.jpg")).size == (20, 30)


def test_transparent_parts_are_paper(tmp_path):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    image.save(tmp_path / "a.png")
    pixels = np.asarray(decoded(read_as_png(tmp_path / "a.png")))
    assert pixels[0, 0] == 255
    assert pixels[1, 1] == 0


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 32_768, 65_535]], np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(decoded(read_as_png(tmp_path / "a.png"))), [[0, 128, 255]])


def test_black_and_white_and_palettes(tmp_path):
    grey().convert("1").save(tmp_path / "a.png")
    assert set(np.unique(np.asarray(decoded(read_as_png(tmp_path / "a.png"))))) == {0, 255}
    Image.new("RGB", (3, 3), (10, 200, 10)).quantize(4).save(tmp_path / "b.gif")
    assert decoded(read_as_png(tmp_path / "b.gif")).mode == "RGB"


def test_invert(tmp_path):
    image = grey()
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        np.asarray(decoded(read_as_png(tmp_path / "a.png", invert=True))), 255 - np.asarray(image)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_become_pngs(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, channels), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(decoded(encode_png(pixels))).reshape(pixels.shape), pixels)


def test_folders_stand_for_their_images(tmp_path):
    folder = tmp_path / "digits"
    (folder / "below").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "below/c.png"):
        grey().save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / "notes.pdf").write_text("a format that Pillow writes and does not read")
    assert [path.name for path in find_images([folder, folder / "b.png"])] == ["a.JPG", "b.png", "b.png"]


def test_what_is_no_image_is_one_sentence(tmp_path):
    text = tmp_path / "a.png"
    text.write_text("not an image")
    with pytest.raises(ServingError, match=r"a\.png' is no image file"):
        read_as_png(text)
    whole = io.BytesIO()
    grey().save(whole, "PNG")
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.getvalue()[:200])
    with pytest.raises(ServingError, match=r"cut\.png' is broken"):
        read_as_png(cut)
    with pytest.raises(ServingError, match="no file or folder"):
        find_images([tmp_path / "missing.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServingError, match="has no image files"):
        find_images([tmp_path / "empty"])


def test_a_bomb_is_refused_by_its_header(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")  # 50 kB that would become 400 MB
    with pytest.raises(ServingError, match=r"20000x20000 pixels; at most 50 million|no image file"):
        read_as_png(tmp_path / "bomb.png")
