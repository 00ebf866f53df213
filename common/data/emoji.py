"""Emoji with their Unicode names: 3,655 colour pictures from two Debian packages, and 768 that ship with the code.

``emoji``: the bitmaps of Noto Color Emoji (fonts-noto-color-emoji, SIL OFL 1.1) on white, padded to a square, and the
fully-qualified sequences of emoji-test.txt (unicode-data) with their names. Labels are Unicode's groups.

Its test split holds compositions that training never shows, although each of their words occurs there: of the bases
that exist in all five skin tones, in sorted order, base number k is tested in tone k mod 5; of the captions with two
tones a and b, those are tested whose 5 a + b + number of characters is divisible by 5. The validation split holds every
tenth caption without a tone, and tone k + 2 mod 5 of each base k that is divisible by 7.

One of the 358 tested pictures is known from training: the snowboarder is drawn alike in all tones.

``emoji_people``: 64 roles, each as man and as woman, in five tones and without one, at 32x32 (EMOJI_LICENSE.md). Person
k is tested in tone k mod 6, and validated in tone k + 3 mod 6 if k is divisible by 4; k counts men and women by turns,
in the order of the roles. Labels are gender and tone.
"""

import functools
import io
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np

from common.data.picture_files import over
from common.data.source import ArraySource, Rows
from common.errors import ConfigError

NAMES = ("emoji", "emoji_people")
FONT, LIST = "NotoColorEmoji.ttf", "emoji-test.txt"
DEBIAN = {FONT: Path("/usr/share/fonts/truetype/noto"), LIST: Path("/usr/share/unicode/emoji")}
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_TONE = re.compile(r"\b(medium-light|medium-dark|light|medium|dark) skin tone\b")
_VARIATION_SELECTOR = 0xFE0F  # asks for the coloured form of a character that has two


def emoji(data_dir: str) -> ArraySource:
  """Opens ``emoji``; its two files are searched in ``data_dir``, or where Debian's packages install them.

  Raises:
    ConfigError: a file or fontTools is missing, or the font has no bitmaps for the names.
  """
  files = {name: (Path(data_dir).expanduser() if data_dir else place) / name for name, place in DEBIAN.items()}
  for file in files.values():
    if not file.is_file():
      raise ConfigError(
        f'config.data.name="emoji": {file} is missing; apt-get install fonts-noto-color-emoji unicode-data, or '
        "--config.data.dir=DIR with copies of the two files; emoji_people needs none"
      )
  names, groups, images = _read(files[FONT], files[LIST])
  class_names = tuple(sorted(set(groups)))
  labels = np.asarray([class_names.index(group) for group in groups], np.int32)
  return _source("emoji", names, images, labels, class_names, _splits(names))


def _source(
  name: str, names: list[str], images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], splits: list[str]
) -> ArraySource:
  rows = {
    split: np.asarray([i for i, own in enumerate(splits) if own == split]) for split in ("train", "validation", "test")
  }
  texts = np.asarray(names)

  @functools.cache
  def load(split: str) -> Rows:
    own = rows[split]
    return {"image": images[own], "label": labels[own], "text": texts[own]}

  return ArraySource(
    name,
    images.shape[1:],
    len(class_names),
    {split: len(own) for split, own in rows.items()},
    load,
    class_names=class_names,
  )


@functools.cache
def _read(font_file: Path, list_file: Path) -> tuple[list[str], list[str], np.ndarray]:
  """Returns names, groups and pictures, uint8 [N, S, S, 3] on white, of all sequences that the font draws."""
  try:
    from fontTools.ttLib import TTFont
  except ImportError:
    raise ConfigError('config.data.name="emoji" needs fontTools: pip install -e .[emoji]') from None
  from PIL import Image

  names, groups, images = [], [], []
  with TTFont(font_file, lazy=True) as font:
    if "CBDT" not in font:
      raise ConfigError(f"{font_file} has no bitmaps (CBDT) but {', '.join(font.keys())}; take one of version 2.042")
    bitmaps, characters, ligatures = font["CBDT"].strikeData[0], font.getBestCmap(), _ligatures(font)
    for codes, name, group in _sequences(list_file.read_text(encoding="utf-8")):
      glyphs = tuple(characters.get(code, "") for code in codes if code != _VARIATION_SELECTOR)
      glyph = glyphs[0] if len(glyphs) == 1 else ligatures.get(glyphs)
      if glyph in bitmaps:
        with Image.open(io.BytesIO(bitmaps[glyph].imageData)) as picture:
          images.append(_square(over(np.asarray(picture.convert("RGBA")), 255)[0]))
        names.append(name)
        groups.append(group)
  if len(images) < 3000:
    raise ConfigError(f"{font_file} draws {len(images)} of the names in {list_file}; take files of the same year")
  return names, groups, np.stack(images)


def _ligatures(font: Any) -> dict[tuple[str, ...], str]:
  """Returns {glyphs of a sequence: the glyph that is drawn for them}."""
  found = {}
  for lookup in font["GSUB"].table.LookupList.Lookup:
    for table in lookup.SubTable:
      for first, ligatures in getattr(getattr(table, "ExtSubTable", table), "ligatures", {}).items():
        found.update({(first, *ligature.Component): ligature.LigGlyph for ligature in ligatures})
  return found


def _sequences(text: str) -> list[tuple[list[int], str, str]]:
  """Returns (code points, name, group) of each fully-qualified line of emoji-test.txt."""
  found, group = [], ""
  for line in text.splitlines():
    if line.startswith("# group:"):
      group = line.partition(":")[2].strip()
    elif "; fully-qualified" in line:
      codes, _, comment = line.partition(";")
      found.append(([int(code, 16) for code in codes.split()], comment.partition("#")[2].split(maxsplit=2)[2], group))
  return found


def _square(pixels: np.ndarray) -> np.ndarray:
  """Pads [H, W, 3] with white to a square."""
  height, width = pixels.shape[:2]
  side = max(height, width)
  canvas = np.full((side, side, 3), 255, np.uint8)
  top, left = (side - height) // 2, (side - width) // 2
  canvas[top : top + height, left : left + width] = pixels
  return canvas


def _splits(names: list[str]) -> list[str]:
  """Returns the split of each name, by the rule in the head of this file."""
  tones = [_TONE.findall(name) for name in names]
  bases: dict[str, set[str]] = {}
  for name, own in zip(names, tones, strict=True):
    if len(own) == 1:
      bases.setdefault(_TONE.sub("*", name), set()).add(own[0])
  number = {base: k for k, base in enumerate(sorted(base for base, own in bases.items() if len(own) == len(TONES)))}
  splits, plain = [], 0
  for name, own in zip(names, tones, strict=True):
    split = "train"
    if len(own) == 2:
      split = "train" if (5 * TONES.index(own[0]) + TONES.index(own[1]) + len(name)) % 5 else "test"
    elif len(own) == 1 and (k := number.get(_TONE.sub("*", name))) is not None:
      tone = TONES.index(own[0])
      split = "test" if tone == k % 5 else "validation" if k % 7 == 0 and tone == (k + 2) % 5 else "train"
    elif not own:
      split = "train" if plain % 10 else "validation"
      plain += 1
    splits.append(split)
  return splits


def people() -> ArraySource:
  """Opens ``emoji_people``, RGB uint8 [32, 32, 3]."""
  return _source("emoji_people", *_people())


@functools.cache
def _people() -> tuple[list[str], np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
  """Returns names, pictures, labels, the names of the labels, and the split of each picture."""
  from PIL import Image

  here = Path(__file__)
  with Image.open(here.with_name("emoji_people.png")) as sheet:
    pixels = np.asarray(sheet.convert("RGB"))
  rows, columns = pixels.shape[0] // 32, pixels.shape[1] // 32
  images = pixels.reshape(rows, 32, columns, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
  roles = here.with_name("emoji_people.txt").read_text(encoding="utf-8").splitlines()
  names, labels, splits = [], [], []
  tones = [*(f": {tone} skin tone" for tone in TONES), ""]
  for k, (role, gender) in enumerate(itertools.product(roles, ("man", "woman"))):
    for place, tone in enumerate(tones):
      names.append(f"{gender} {role}{tone}")
      labels.append(len(tones) * (gender == "woman") + place)
      splits.append("test" if place == k % 6 else "validation" if k % 4 == 0 and place == (k + 3) % 6 else "train")
  class_names = tuple(name.replace(f" {roles[0]}", "") for name in names[: 2 * len(tones)])
  return names, images, np.asarray(labels, np.int32), class_names, splits
