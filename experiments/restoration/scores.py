"""Scores of restored pictures against their originals, whole and one by one, beside the score of no restoration."""

from pathlib import Path, PurePosixPath

import jax.numpy as jnp
import numpy as np

from common.data.archive import list_files
from common.data.degradations.resize import resized
from common.evaluation.metrics.psnr import Psnr, psnr
from common.evaluation.metrics.ssim import similarity
from experiments.restoration.originals import Original, opacity

Scores = dict[str, float]


def pair_scores(result: np.ndarray, reference: np.ndarray, protocol: Psnr, hole: np.ndarray | None) -> Scores:
  """Returns "psnr" and "ssim" of uint8 [H, W, C] and a reference; with a hole [H, W] "hole_psnr", of its pixels only.

  Raises:
    ValueError: pictures that cannot be compared.
  """
  if result.shape != reference.shape:
    shapes = ["x".join(map(str, x.shape)) for x in (reference, result)]
    raise ValueError(f"the reference has {shapes[0]} pixels and channels, and the result {shapes[1]}")
  x, y = protocol.planes(result), protocol.planes(reference)
  if hole is None:
    return {"psnr": psnr(x, y), "ssim": similarity(x, y)[0]}
  border = protocol.border
  inside = hole[border : len(hole) - border, border : hole.shape[1] - border]
  return {"hole_psnr": psnr(x[inside], y[inside])}


def baseline(pixels: np.ndarray, scale: int, hole: np.ndarray | None) -> np.ndarray:
  """Returns what the result would be without a model: the picture, enlarged by MATLAB's bicubic filter, its hole filled
  with the mean of the rest."""
  if hole is not None and not hole.all():
    return np.where(hole[..., None], np.rint(pixels[~hole].mean(axis=0)), pixels).astype(np.uint8)
  if scale == 1:
    return pixels
  large = resized(jnp.asarray(pixels[None], jnp.float32), pixels.shape[0] * scale, pixels.shape[1] * scale)
  return np.clip(np.rint(np.asarray(large[0])), 0, 255).astype(np.uint8)


def references(folder: Path, originals: list[Original]) -> dict[PurePosixPath, Path]:
  """Finds the file of each original in a folder by its name, whatever the ending: {name of the original: path}."""
  files = {PurePosixPath(file.relative_to(folder)).with_suffix(""): file for file in list_files(folder)[0]}
  return {x.name: files[x.name.with_suffix("")] for x in originals if x.name.with_suffix("") in files}


def colours(path: Path) -> np.ndarray:
  """Reads uint8 [H, W, 1 or 3], without opacity.

  Raises:
    PictureError: the file cannot be read.
  """
  return opacity(Original(path, PurePosixPath(path.name), PurePosixPath(path.name)).picture())[0]


def table(rows: dict[str, tuple[Scores, Scores]]) -> str:
  """Formats {name: (scores, those of the baseline)}, with the means below."""
  names = list(next(iter(rows.values()))[0])
  means = tuple({name: float(np.mean([row[i][name] for row in rows.values()])) for name in names} for i in (0, 1))
  width = max(len(name) for name in [*rows, "mean"])
  lines = ["  ".join([" " * width, *(f"{name:>9}  {'before':>9}" for name in names)])]
  for title, (ours, before) in [*rows.items(), ("mean", means)]:
    cells = (f"{ours[name]:9.{_digits(name)}f}  {before[name]:9.{_digits(name)}f}" for name in names)
    lines.append("  ".join([f"{title:{width}}", *cells]))
  return "\n".join(lines)


def _digits(name: str) -> int:
  return 4 if name == "ssim" else 2
