"""Draws what the page of experiments.demo asks for: pictures from noise, of a class, of a caption, or restored."""

import base64
import functools
import io
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.data.images import picture, png, to_uint8
from common.data.picture_files import PictureError, read_picture
from common.errors import ConfigError
from experiments import api
from experiments.restoration.restorer import TILE, Restorer
from experiments.scores.nearest import TrainingPictures

MOST = 64  # pictures of one request
LARGEST = 2**21  # pixels of a picture to restore; larger ones take minutes

Drawn = list[dict[str, Any]]  # each picture: "png" and, where asked for, "nearest" (data URLs) and its "difference"


class Drawer:
  """A model that draws for a page.

  Args:
    workdir: the run, or an exported model.
    checkpoint: "last", "best" or the number of a step.
    prior: workdir of a density that was trained on the run's latents, to replace the VAE's prior.

  Raises:
    ConfigError: no such run, or one that makes no pictures.
  """

  def __init__(self, workdir: Path, checkpoint: str = "last", prior: str = ""):
    self._run, self._workdir = api.load(workdir, checkpoint, prior=prior), workdir
    given = getattr(self._run.algorithm, "given", ())
    self._given = given[0] if given else ""
    self._sampler = None if self._given == "seen" else api.sampler_of(self._run)
    self._restorer = functools.lru_cache(maxsize=4)(functools.partial(Restorer, self._run))

  @property
  def notes(self) -> tuple[str, ...]:
    """What was filled in or skipped when the run was read."""
    return self._run.notes

  def about(self) -> dict[str, Any]:
    """Returns what the page shows and offers: "given" is "label", "text", "seen" or "" for noise alone."""
    spec, restorer = self._run.spec, self._restorer() if self._given == "seen" else None
    return {
      "name": self._workdir.resolve().name,
      "what": f"{self._run.config.family} on {self._run.config.data.name}, step {self._run.step:,}",
      "given": self._given,
      "labels": [self._class_name(label) for label in spec.labels] if self._given == "label" else [],
      "words": sorted(word for word in spec.vocabulary if not word.startswith("<")) if self._given == "text" else [],
      "mask": bool(restorer and restorer.takes_mask),
      "most": MOST if any(math.prod(z.shape) for z in jax.tree.leaves(self._run.latents())) else 1,
    }

  def _class_name(self, label: int) -> str:
    names = self._run.spec.class_names
    return names[label] if names else str(label)

  def draw(self, seed: int, num: int, label: str = "", text: str = "", nearest: bool = False) -> Drawn:
    """Draws pictures ``num`` of a class (empty: of any), or of a caption; picture i depends on ``seed`` and i only.

    Raises:
      ConfigError: a value that cannot be used, a word that the model does not know, or no training pictures.
    """
    if self._sampler is None:
      raise ConfigError("this model restores pictures; give it one")
    _check("seed", seed, 0, 2**32 - 1)
    _check("num", num, 1, MOST)
    labels = None
    if label:
      known = {self._class_name(number): number for number in self._run.spec.labels}
      if label not in known:
        raise ConfigError(f'"{label}" is not one of {", ".join(known)}')
      labels = np.full(num, known[label], np.int32)
    texts = [text] * num if self._given == "text" else None
    rows: Any = self._run.stated(labels, texts) or self._sampler.given(seed, np.arange(num)) or {}
    images, spec = self._sampler(self._run.state, seed, num, rows), self._run.spec
    if spec.kind == "points":
      return [{"png": _url(picture(images, spec.kind, spec.pixel_range, 1))}]
    drawn: Drawn = [{"png": _url(image)} for image in to_uint8(images, spec.pixel_range)]
    if nearest:
      found, difference = self._training_pictures.nearest(images)
      for one, image, far in zip(drawn, to_uint8(found, spec.pixel_range), difference, strict=True):
        one.update({"nearest": _url(image), "difference": round(float(far), 3)})
    return drawn

  @functools.cached_property
  def _training_pictures(self) -> TrainingPictures:
    return TrainingPictures(self._run, self._workdir)

  def restore(self, file: bytes, mask: bytes | None = None, num: int = 1) -> Drawn:
    """Restores a picture file, transparent pixels over white, with as many results as ``num`` says.

    Args:
      file: any format that experiments.restore takes.
      mask: for a model that fills holes, a picture of that size which is white where pixels are missing.
      num: more than 1 for a model with latents.

    Raises:
      ConfigError: a file that is no picture, is too large, or does not go with the model or the mask.
    """
    if self._given != "seen":
      raise ConfigError("this model draws pictures and restores none; see experiments.restore --method=latent")
    _check("num", num, 1, MOST)
    pixels = _read(file, "the picture")
    if pixels.shape[0] * pixels.shape[1] > LARGEST:
      raise ConfigError(
        f"the picture has {pixels.shape[0] * pixels.shape[1]:,} pixels, and the page takes {LARGEST:,}; "
        "experiments.restore takes any"
      )
    hole = None if mask is None else _read(mask, "the mask").mean(axis=-1) > 127
    if hole is not None and hole.shape != pixels.shape[:2]:
      raise ConfigError(f"the mask has {hole.shape} pixels and the picture {pixels.shape[:2]}; take a mask of its size")
    restorer = self._restorer(longest=min(max(pixels.shape[:2]), TILE + 1), draws=num)
    return [{"png": _url(image)} for image in restorer(pixels, hole)]


def _check(name: str, value: Any, least: int, most: int) -> None:
  if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
    raise ConfigError(f"{name}={value} must be a whole number from {least} to {most}")


def _read(file: bytes, what: str) -> np.ndarray:
  try:
    found = read_picture(io.BytesIO(file), "")
  except PictureError as error:
    raise ConfigError(f"{what} cannot be read: {error}") from None
  if found is None:
    raise ConfigError(f"{what} is no picture in a format that Pillow reads; take a PNG or a JPEG")
  grey = (found.pixels == found.pixels[..., :1]).all()  # a browser makes three equal channels of it
  return found.pixels[..., :1] if grey else found.pixels


def _url(image: np.ndarray) -> str:
  return "data:image/png;base64," + base64.b64encode(png(image)).decode()
