"""Restores the files of a folder one after the other; what is there already stays, and what cannot be read is named."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.images import grid, save_png
from common.data.picture_files import Picture, PictureError
from common.data.resize import fit
from common.errors import ConfigError
from common.evaluation.metrics.psnr import Psnr
from common.training.log import Status
from experiments.restoration import scores
from experiments.restoration.originals import Original, enlarged, opacity, save

SETTINGS = "restoration.json"  # in --out: what the results there were made with
PANEL = 512  # pixels of a side of a sheet's panels, which show the middle of larger pictures
# (colours uint8 [H, W, C], hole, name, done) -> (results [D, H', W', C], a line about them)
Restore = Callable[[np.ndarray, np.ndarray | None, str, Callable[[int, int], None]], tuple[np.ndarray, str]]


def claim(out: Path, originals: list[Original], settings: dict[str, Any]) -> None:
  """Prepares ``out`` for the results of these settings, or for the rest of them.

  Raises:
    ConfigError: it has results of other settings, or files of another origin under the names of results.
  """
  file = out / SETTINGS
  taken = [x.out for x in originals if any(path.exists() for path in paths(out, x, settings["draws"]))]
  if taken and not file.is_file():
    raise ConfigError(f"--out={out} has {taken[0]}, which is no result of this command; name another directory")
  before = json.loads(file.read_text(encoding="utf-8")) if taken else settings
  if differ := [name for name in settings if before.get(name) != settings[name]]:
    name = differ[0]
    raise ConfigError(
      f"--out={out} has results with {name}={before.get(name)}, and not {settings[name]}; name another directory"
    )
  files.write(file, json.dumps(settings, indent=2))


def paths(out: Path, original: Original, draws: int) -> list[Path]:
  """Returns the files of an original's results: NAME.png, or NAME-1.png, NAME-2.png, ... of several draws."""
  path = out / original.out
  return [path] if draws == 1 else [path.with_name(f"{path.stem}-{i}.png") for i in range(1, draws + 1)]


class Masks:
  """The holes of pictures: one file for all of them, or a folder with one for each by its name."""

  def __init__(self, place: Path | None, originals: list[Original]):
    self._folder = scores.references(place, originals) if place and place.is_dir() else {}
    self._file = None if place is None or place.is_dir() else place
    self._given = place is not None

  def __call__(self, original: Original, height: int, width: int) -> np.ndarray | None:
    """Returns bool [height, width], True where the mask is brighter than middle grey; None without masks.

    Raises:
      PictureError: it is missing, cannot be read or has another size.
    """
    if not self._given:
      return None
    path = self._file or self._folder.get(original.name)
    if path is None:
      raise PictureError("--mask has no file of this name")
    pixels = scores.colours(path)
    mask = fit(pixels[None], (*pixels.shape[:2], 1), "stretch")[0, ..., 0]
    if mask.shape != (height, width):
      raise PictureError(f"its mask has {mask.shape[1]}x{mask.shape[0]} pixels, and it has {width}x{height}")
    return mask > 127


def restore_all(
  originals: list[Original], out: Path, restore: Restore, masks: Masks, draws: int, status: Status
) -> list[str]:
  """Writes the results that are missing; returns "name (reason)" of each file that was left out."""
  left_out = []
  for number, original in enumerate(originals, 1):
    targets = paths(out, original, draws)
    if all(path.exists() for path in targets):
      continue
    start, tiles = time.monotonic(), [""]
    place = f"{number:,}/{len(originals):,} {original.name}"

    def done(count: int, total: int, tiles: list[str] = tiles) -> None:
      tiles[0] = f": {count:,} of {total:,} tiles"

    try:
      with status.phase(lambda place=place, tiles=tiles: f"{place}{tiles[0]}"):
        picture = original.picture()
        pixels, alpha = opacity(picture)
        height, width, _ = pixels.shape
        results, note = restore(pixels, masks(original, height, width), str(original.name), done)
        alpha = None if alpha is None else enlarged(alpha, *results.shape[1:3])
        for path, result in zip(targets, results, strict=True):
          save(path, result, alpha, picture)
    except PictureError as error:
      left_out.append(f"{original.name} ({error})")
      status.line(f"{place} left out: {error}")
      continue
    said = "; ".join(filter(None, [*changes(picture), note]))
    size = f"{width}x{height} -> {results.shape[2]}x{results.shape[1]}"
    status.line(f"{place} {size} in {time.monotonic() - start:.1f} s{f' ({said})' if said else ''}")
  return left_out


def changes(picture: Picture) -> list[str]:
  """Returns what was done to the picture before its restoration; its profile is kept where it fits."""
  return [change for change in picture.changes if not change.startswith("ICC")]


def score_all(
  originals: list[Original],
  out: Path,
  folder: Path,
  masks: Masks,
  scale: int,
  draws: int,
  protocol: Psnr,
  status: Status,
) -> dict[str, tuple[scores.Scores, scores.Scores]]:
  """Compares results (of several draws, the first) with files of ``folder``; returns {name: (scores, before)}."""
  rows, known = {}, scores.references(folder, originals)
  for original in originals:
    path = paths(out, original, draws)[0]
    if not path.exists():
      continue
    try:
      if original.name not in known:
        raise PictureError("--reference has no file of this name")
      reference, result = scores.colours(known[original.name]), scores.colours(path)
      pixels, _ = opacity(original.picture())
      hole = masks(original, *pixels.shape[:2])
      before = scores.baseline(pixels, scale, hole)
      before = np.repeat(before, result.shape[2] // before.shape[2], axis=2)
      rows[str(original.name)] = (
        scores.pair_scores(result, reference, protocol, hole),
        scores.pair_scores(before, reference, protocol, hole),
      )
    except (PictureError, ValueError) as error:
      status.line(f"{original.name} is not scored: {error}")
  return rows


def sheet(out: Path, original: Original, masks: Masks, draws: int, reference: Path | None) -> Path:
  """Writes sheets/NAME.png: the input at the size of the results, the results, and the reference if there is one."""
  results = [scores.colours(path) for path in paths(out, original, draws)]
  pixels, _ = opacity(original.picture())
  hole = masks(original, *pixels.shape[:2])
  pixels = pixels if hole is None else np.where(hole[..., None], np.uint8(128), pixels)
  panels = [enlarged(pixels, *results[0].shape[:2]), *results, *([scores.colours(reference)] if reference else [])]
  height, width = (min(side, PANEL) for side in results[0].shape[:2])
  cells = []
  for panel in panels:
    top, left = (max((side - cut) // 2, 0) for side, cut in zip(panel.shape, (height, width), strict=False))
    cut = panel[top : top + height, left : left + width]
    cell = np.full((height, width, 3), 255, np.uint8)
    cell[: cut.shape[0], : cut.shape[1]] = cut
    cells.append(cell)
  path = out / "sheets" / original.out
  save_png(path, grid(np.stack(cells), len(cells)))
  return path
