"""Windows of 25 real photographs from the Debian packages lomiri-wallpapers-16.04 (16 MB) and mate-backgrounds (47 MB).

The photographs are chosen by hand: most wallpapers are drawings. Each is reduced until its longer side has 1,024
pixels, which averages JPEG's blocks away, and cut into windows that overlap by a third. Five whole photographs
are held out, so that no window of a held-out one overlaps a training window.
"""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from common.data.source import ArraySource, Rows
from common.errors import ConfigError

LONG_SIDE = 1024
WINDOW = 96  # pixels per side where config.data.image_size is 0
PACKAGES = {
  "lomiri-wallpapers-16.04": (
    "Bridge_by_Sander_Klootwijk", "Dragonfly_by_Bolly", "Picture_0B_by_freespace", "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede", "aitzgorri_by_Aitzol_Berasategi", "free_by_Peter_Nerlich", "friends_by_Aitzol_Berasategi",
    "greentock_by_Peter_Nerlich", "life_by_Aitzol_Berasategi", "picosdeeuropa_by_Aitzol_Berasategi",
    "seeding_by_Clements_Engelhardt", "sunset_by_Aitzol_Berasategi",
  ),
  "mate-backgrounds": (
    "Aqua", "Blinds", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "RainDrops", "Storm", "TwoWings",
    "Wood", "YellowFlower",
  ),
}  # fmt: skip
SPLITS = {
  "validation": ("greentock_by_Peter_Nerlich", "LadyBird"),
  "test": ("Dragonfly_by_Bolly", "life_by_Aitzol_Berasategi", "Garden"),
}
DEBIAN = ("/usr/share/backgrounds", "/usr/share/backgrounds/mate/nature")


def photos(data: Any) -> ArraySource:
  """Opens the photographs in config.data.dir, or where the packages install them, as windows of config.data.image_size.

  Raises:
    ConfigError: some of the photographs are missing, or the windows are larger than they.
  """
  places = [Path(data.dir).expanduser()] if data.dir else [Path(place) for place in DEBIAN]
  files = {stem: next((p for place in places if (p := place / f"{stem}.jpg").is_file()), None) for stem in _stems()}
  for package, stems in PACKAGES.items():
    if missing := [stem for stem in stems if files[stem] is None]:
      raise ConfigError(
        f'config.data.name="photos": {missing[0]}.jpg is not in {", ".join(map(str, places))}'
        f"{f', nor are {len(missing) - 1} others' if len(missing) > 1 else ''}; apt-get install {package}, or "
        "--config.data.dir=DIR with copies of all 25 files"
      )
  height = data.image_size or WINDOW
  size = height, data.image_width or height
  held_out = {stem: split for split, stems in SPLITS.items() for stem in stems}

  @functools.cache
  def load(split: str) -> Rows:
    chosen = [file for stem, file in files.items() if file and held_out.get(stem, "train") == split]
    images = np.concatenate([windows(_reduced(file), size) for file in chosen])
    return {"image": images, "label": np.zeros(len(images), np.int32)}

  sizes = {split: len(load(split)["label"]) for split in ("train", *SPLITS)}
  return ArraySource("photos", (*size, 3), 0, sizes, load)


def _stems() -> list[str]:
  return [stem for stems in PACKAGES.values() for stem in stems]


def _reduced(file: Path) -> np.ndarray:
  """Returns a photograph, uint8 [H, W, 3], whose longer side has LONG_SIDE pixels."""
  from PIL import Image

  with Image.open(file) as picture:
    factor = LONG_SIDE / max(picture.size)
    width, height = (round(side * factor) for side in picture.size)
    return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0))


def windows(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Cuts an image [H, W, C] into windows [N, *size, C], from edge to edge, whose neighbours share a third or more.

  Raises:
    ConfigError: the image is smaller than a window.
  """
  if image.shape[0] < size[0] or image.shape[1] < size[1]:
    way_out = f"set --config.data.image_size={WINDOW} and --config.data.image_width=0"
    asked, there = (f"{height}x{width}" for height, width in (size, image.shape[:2]))
    raise ConfigError(f"config.data.image_size={asked} is larger than a photograph of {there}; {way_out}")

  def starts(length: int, size: int) -> np.ndarray:
    count = math.ceil((length - size) / (size - size // 3)) + 1
    return np.linspace(0, length - size, count).round().astype(int)

  rows, columns = starts(image.shape[0], size[0]), starts(image.shape[1], size[1])
  return np.stack([image[y : y + size[0], x : x + size[1]] for y in rows for x in columns])
