"""The two sides of a comparison of pictures: real ones as scores see them, and those of a model."""

import dataclasses
from typing import Any

import numpy as np

from common.data import images
from common.data.catalogue import open_source
from common.data.dataset import Dataset, open_dataset
from common.data.degradations.resize import resized
from common.data.window import window
from common.errors import ConfigError
from common.evaluation.sampling import Examples, Sampler
from common.types import PyTree

BATCH = 64  # examples that are degraded at a time


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Pictures to score: uint8 [N, H, W, C] (points: float32 [N, 1, 1, 2]), with labels [N] or None."""

  images: np.ndarray
  labels: np.ndarray | None

  def __len__(self) -> int:
    return len(self.images)


def open_reference(data: Any) -> Dataset:
  """Opens the data set of config.data for comparison: never turned, flipped, dequantized, binarized or damaged.

  Images that training pads are opened at their own size, and `drawn` crops the model's to it: the margin is the same
  on both sides and would only dilute the scores.
  """
  plain = data.copy_and_resolve_references()
  with plain.unlocked():
    as_stored = {"rotate": False, "flip": False, "dequantize": False, "binarize": "none"}
    plain.update({**as_stored, "degradation": (), "text": {"name": "none"}})
    source = open_source(plain)
    if plain.resize == "pad" and source.kind == "images":
      height, width, _ = source.native_shape
      plain.image_size, plain.image_width = height if height == width else 0, 0
  return open_dataset(plain)


def real(reference: Dataset, split: str, num: int = 0) -> Pictures:
  """Returns the first ``num`` examples of "train", "validation" or "test", 0 for all, with labels if there are any.

  Raises:
    ConfigError: the split has fewer.
  """
  examples = getattr(reference, split)
  if num > len(examples):
    raise ConfigError(
      f"{num} real examples are asked for, and the split has {len(examples)}; take --num_real={len(examples)} or fewer"
    )
  rows = examples.arrays()
  images = without_margin(rows["image"][: num or None], window(reference.image_shape, reference.crop))
  return Pictures(images, rows["label"][: num or None] if reference.source.num_classes else None)


def without_margin(pictures: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """Crops pictures that padding enlarged to the middle [N, *shape[:2], C]; smaller ones stay as they are."""
  top, left = (max(have - want, 0) // 2 for have, want in zip(pictures.shape[1:3], shape[:2], strict=True))
  return pictures[:, top : top + shape[0], left : left + shape[1]]


def drawn(sampler: Sampler, state: PyTree, seed: int, num: int, reference: Dataset) -> Pictures:
  """Draws ``num`` pictures of a model, rounded to uint8 and without the margin that its training images have."""
  labels = sampler.labels(seed, np.arange(num)) if sampler.labelled else None
  batches = sampler.batches(state, seed, num)
  if reference.source.kind == "points":
    return Pictures(np.concatenate(list(batches)), labels)
  parts = [without_margin(images.to_uint8(x, reference.pixel_range), reference.image_shape) for x in batches]
  return Pictures(np.concatenate(parts), labels)


def unrestored(examples: Examples, num: int, shape: tuple[int, int, int], reference: Dataset) -> Pictures:
  """Returns what is seen of the first ``num`` examples, enlarged bicubically to a model's pictures of ``shape``.

  It is the baseline of a restored picture; a hole is 0, and grey has the channels of the picture.
  """
  height, width, channels = shape

  def enlarged(start: int) -> np.ndarray:
    seen = examples(np.arange(start, min(start + BATCH, num)))["seen"][..., :channels]
    shown = np.broadcast_to(resized(seen, height, width), (len(seen), height, width, channels))
    return without_margin(images.to_uint8(shown, reference.pixel_range), reference.image_shape)

  return Pictures(np.concatenate([enlarged(start) for start in range(0, num, BATCH)]), None)


def check_pictures(pictures: np.ndarray, reference: np.ndarray) -> None:
  """Raises ConfigError if pictures cannot be compared with the reference: shape, colour, dtype, or not finite."""
  if pictures.shape[1:] != reference.shape[1:]:
    ours, theirs = pictures.shape[1:], reference.shape[1:]
    way = "take a reference of that size"
    if len(ours) == 3 and ours[:2] == theirs[:2]:
      way = "both must be grey (1 channel) or both colour (3)"
    raise ConfigError(f"the pictures are {ours} (height, width, channels) and the real ones {theirs}: {way}")
  if pictures.dtype != reference.dtype:
    raise ConfigError(f"the pictures are {pictures.dtype} and the real ones {reference.dtype}")
  if pictures.dtype.kind == "f" and not np.all(np.isfinite(pictures)):
    raise ConfigError(f"{np.sum(~np.isfinite(pictures))} values of the pictures are not finite")
