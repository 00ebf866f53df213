"""What a viewer shows of a file: each kind of picture written with Pillow and read back."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from common.data import picture_files
from common.data.picture_files import PictureError

RNG = np.random.RandomState(0)
GREY, COLOUR = RNG.randint(0, 256, (6, 5), np.uint8), RNG.randint(0, 256, (6, 5, 3), np.uint8)
ALPHA = np.where(GREY < 60, 0, GREY)  # some pixels are not there at all
L, RGB, A = Image.fromarray(GREY), Image.fromarray(COLOUR), Image.fromarray(ALPHA)
LA, RGBA = Image.merge("LA", [L, A]), Image.merge("RGBA", [*RGB.split(), A])


def read_picture(path, background=255):
  with path.open("rb") as file:
    return picture_files.read_picture(file, path.suffix, background)


def written(path, picture, **options):
  picture.save(path, **options)
  return read_picture(path)


@pytest.mark.parametrize(
  ("name", "format"),
  [("a.png", "PNG"), ("a.bmp", "BMP"), ("a.tif", "TIFF"), ("a.ppm", "PPM"), ("a.tga", "TGA"), ("a.qoi", "QOI")],
)
@pytest.mark.parametrize("stored", [L, RGB])
def test_what_loses_nothing_comes_as_it_is(tmp_path, name, format, stored):
  if format == "QOI":
    stored = RGB
  found = written(tmp_path / name, stored)
  assert (found.pixels.squeeze() == np.asarray(stored)).all() and found.pixels.dtype == np.uint8
  assert (found.format, found.lossy, found.changes) == (format, "", ())


def test_a_format_is_known_by_content_and_not_by_suffix(tmp_path):
  for name in ("a", "a.jpg", "a.txt"):
    RGB.save(tmp_path / name, format="PNG")
    assert read_picture(tmp_path / name).format == "PNG"


@pytest.mark.parametrize(
  ("name", "options", "lossy"),
  [
    ("a.jpg", {"quality": 100}, "JPEG of mean step 1"),
    ("a.jpg", {"quality": 50}, "JPEG of mean step 58"),
    ("a.jpg", {"quality": 10}, "JPEG of mean step 196"),
    ("a.webp", {"quality": 90}, "WEBP"),
    ("a.avif", {}, "AVIF"),
    ("a.jp2", {}, "JPEG2000"),
    ("a.tif", {"compression": "jpeg"}, "TIFF"),
    ("a.tif", {"compression": "tiff_lzw"}, ""),
    ("a.gif", {}, "palette"),
  ],
)
def test_what_may_have_lost_detail_is_told(tmp_path, name, options, lossy):
  assert written(tmp_path / name, RGB, **options).lossy == lossy


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_pictures_are_turned_as_their_exif_says(tmp_path, name, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  found = written(tmp_path / name, RGB, exif=exif)
  with Image.open(tmp_path / name) as picture:
    expected = np.asarray(ImageOps.exif_transpose(picture))
  assert (found.pixels == expected).all()
  assert ("turned by EXIF" in found.changes) == (orientation > 1)


@pytest.mark.parametrize(("name", "level"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("stored", [LA, RGBA])
def test_what_is_transparent_is_laid_on_white_or_black(tmp_path, stored, name, level):
  stored.save(tmp_path / "a.png")
  found = read_picture(tmp_path / "a.png", level)
  share = ALPHA[..., None] / 255.0
  exact = np.asarray(stored)[..., :-1] * share + level * (1.0 - share)
  assert (found.pixels == np.rint(exact)).all() and found.changes == (f"transparent, on {name}",)
  shown = Image.alpha_composite(Image.new("RGBA", stored.size, (level, level, level, 255)), stored.convert("RGBA"))
  assert np.abs(found.pixels.astype(int) - np.asarray(shown.convert("RGB"))[..., : found.pixels.shape[2]]).max() <= 1


def test_what_is_transparent_is_composited_in_blocks(monkeypatch):
  pixels = np.random.RandomState(0).randint(0, 256, (7, 5, 4), np.uint8)
  whole = picture_files.over(pixels, 255)
  monkeypatch.setattr(picture_files, "_BLOCK", 2 * 5 * 4)
  blocks = picture_files.over(pixels, 255)
  np.testing.assert_array_equal(whole[0], blocks[0])
  assert whole[1] == blocks[1] == ["transparent, on white"]


@pytest.mark.parametrize(
  ("picture", "options"),
  [
    (L, {"transparency": int(GREY[0, 0])}),
    (RGB, {"transparency": tuple(int(value) for value in COLOUR[0, 0])}),
    (Image.fromarray(GREY.astype(np.uint16) * 257), {"transparency": int(GREY[0, 0]) * 257}),
    (RGB.quantize(16), {"transparency": bytes([0] * 16)}),
  ],
)
def test_a_colour_or_a_palette_may_be_transparent_too(tmp_path, picture, options):
  found = written(tmp_path / "a.png", picture, **options)
  assert (found.pixels[0, 0] == 255).all() and "transparent, on white" in found.changes


def test_16_bits_are_scaled_and_not_cut_off(tmp_path):
  deep = Image.fromarray(GREY.astype(np.uint16) * 257)
  for name in ("a.png", "a.tif"):
    found = written(tmp_path / name, deep)
    assert (found.pixels[..., 0] == GREY).all() and found.changes == ("16 bits to 8",)
  ramp = np.linspace(0, 65535, 30).astype(np.uint16).reshape(6, 5)
  found = written(tmp_path / "b.png", Image.fromarray(ramp))
  assert (found.pixels[..., 0] == np.rint(ramp / 257)).all()
  for kind in (np.float32, np.int32):
    Image.fromarray(GREY.astype(kind)).save(tmp_path / "c.tif")
    with pytest.raises(PictureError, match="without a stated white; store 8 bits"):
      read_picture(tmp_path / "c.tif")


def test_4_bits_are_scaled(tmp_path):
  def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

  header = struct.pack(">2I5B", 4, 1, 4, 0, 0, 0, 0)  # 4x1 grey pixels of 4 bits
  body = zlib.compress(b"\x00\x05\xaf")
  (tmp_path / "a.png").write_bytes(
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
  )
  assert read_picture(tmp_path / "a.png").pixels.ravel().tolist() == [0, 5 * 17, 10 * 17, 255]


@pytest.mark.parametrize(
  ("name", "picture", "change"),
  [
    ("a.png", L.convert("1"), "1 bit to 8"),
    ("a.png", RGB.quantize(16), "palette"),
    ("a.jpg", RGB.convert("CMYK"), "CMYK to RGB"),
    ("a.tif", RGB.convert("CMYK"), "CMYK to RGB"),
    ("a.tif", RGB.convert("YCbCr"), "YCbCr to RGB"),
  ],
)
def test_other_modes_are_converted_and_it_is_said(tmp_path, name, picture, change):
  found = written(tmp_path / name, picture)
  with Image.open(tmp_path / name) as again:
    assert (found.pixels.squeeze() == np.asarray(again.convert("L" if change.startswith("1") else "RGB"))).all()
  assert found.changes == (change,)


def test_a_palette_of_greys_is_grey_and_exact(tmp_path):
  grey = L.convert("P")
  found = written(tmp_path / "a.gif", grey)
  assert (found.pixels == GREY[..., None]).all() and found.lossy == ""


@pytest.mark.parametrize(
  ("name", "stored", "options", "changes"),
  [
    ("a.webp", RGB, {"lossless": True, "exif": b"x" * 21}, ("damaged EXIF, ignored",)),
    ("a.png", RGB, {"icc_profile": b"x" * 200}, ("ICC profile left alone",)),
    ("a.png", Image.merge("RGBA", [*RGB.split(), Image.new("L", RGB.size, 255)]), {}, ()),  # opaque
  ],
)
def test_exif_profiles_and_full_opacity_hide_nothing(tmp_path, name, stored, options, changes):
  found = written(tmp_path / name, stored, **options)
  assert (found.pixels == COLOUR).all() and found.changes == changes


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_an_animation_is_its_first_frame(tmp_path, name):
  options = {"lossless": True} if name == "a.webp" else {}
  first = RGB.quantize(16).convert("RGB")  # few colours, which a GIF keeps
  found = written(tmp_path / name, first, save_all=True, append_images=[ImageOps.invert(first)], **options)
  assert (found.pixels == np.asarray(first)).all() and "first of several frames" in found.changes


def test_a_png_with_damaged_pixels_is_an_error_and_no_damaged_exif(tmp_path):
  """Pillow seeks the EXIF of a PNG behind its pixels, and gives black for what it could not read the first time."""
  Image.fromarray(RNG.randint(0, 256, (8, 8, 3), np.uint8)).resize((300, 300), Image.Resampling.BICUBIC).save(
    tmp_path / "a.png"
  )
  content = (tmp_path / "a.png").read_bytes()
  (tmp_path / "a.png").write_bytes(content[:200] + bytes(200) + content[400 : len(content) // 3])
  with pytest.raises(PictureError, match="broken data stream|truncated"):
    read_picture(tmp_path / "a.png")


def test_opacity_stays_where_it_is_asked_for(tmp_path):
  def read(picture, **options):
    picture.save(tmp_path / "a.png", **options)
    return read_picture(tmp_path / "a.png", None).pixels

  np.testing.assert_array_equal(read(RGBA), np.asarray(RGBA))
  np.testing.assert_array_equal(read(LA), np.asarray(LA))
  np.testing.assert_array_equal(read(RGB.convert("RGBA")), COLOUR)
  deep = Image.fromarray(np.array([[0, 257, 514]], np.uint16))
  np.testing.assert_array_equal(read(deep, transparency=257), [[[0, 255], [1, 0], [2, 255]]])
  palette = read(RGB.quantize(4), transparency=0)
  assert palette.shape == (6, 5, 4) and set(np.unique(palette[..., 3])) == {0, 255}


def test_exif_comes_without_the_orientation_that_the_pixels_have(tmp_path):
  exif = Image.Exif()
  exif[0x0112], exif[0x010F] = 3, "maker"
  found = written(tmp_path / "a.png", RGB, exif=exif, icc_profile=b"profile")
  np.testing.assert_array_equal(found.pixels, COLOUR[::-1, ::-1])
  again = Image.Exif()
  again.load(found.exif)
  assert dict(again) == {0x010F: "maker"} and found.icc_profile == b"profile"
  assert written(tmp_path / "b.png", RGB).exif == b""
