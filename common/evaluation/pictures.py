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
from common.evaluation.metrics.retrieval import distances, words
from common.evaluation.sampling import Examples, Sampler
from common.types import PyTree

BATCH = 64  # examples that are degraded at a time
_OTHERS = 4096  # pictures that others are compared with at a time
OTHERS = {"train": ("validation", "test"), "validation": ("train", "test"), "test": ("train", "validation")}


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Pictures to score: uint8 [N, H, W, C] (points: float32 [N, 1, 1, 2]), with other rows as a `SampleSet` has them."""

  images: np.ndarray
  labels: np.ndarray | None
  captions: list[str] | None = None
  holes: np.ndarray | None = None
  draws: np.ndarray | None = None

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
    plain.update({**as_stored, "degradation": ()})
    plain.text = {"name": "none"}  # update() would keep the tokenizer's other settings
    source = open_source(plain)
    if plain.resize == "pad" and source.kind == "images":
      height, width, _ = source.native_shape
      plain.image_size, plain.image_width = height if height == width else 0, 0
  return open_dataset(plain)


def real(reference: Dataset, split: str, num: int = 0) -> Pictures:
  """Returns the first ``num`` examples of a split, 0 for all, with labels and captions if there are any.

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
  labels, captions = rows["label"] if reference.source.num_classes else None, examples.captions()
  return Pictures(images, *(None if each is None else each[: num or None] for each in (labels, captions)))


def among_all(reference: Dataset, split: str) -> Pictures:
  """Returns the examples of a split, and those of the other two after them."""
  parts = [real(reference, split), *(real(reference, other) for other in OTHERS[split])]
  captions = None if parts[0].captions is None else [text for part in parts for text in part.captions or ()]
  return Pictures(np.concatenate([part.images for part in parts]), None, captions)


def copies(reference: Dataset, split: str, num: int) -> dict[str, Pictures]:
  """Returns two baselines of pictures of captions, which copy a training picture for each of the first ``num`` ones.

  "closest caption" copies that whose caption shares the largest part of the words of both, the first of equals;
  "nearest picture" knows the true picture, and copies that which is nearest to it.
  """
  own, train = real(reference, split, num), real(reference, "train")
  sets = [[set(words(caption)) for caption in side.captions or ()] for side in (own, train)]
  shared = [[len(a & b) / max(len(a | b), 1) for b in sets[1]] for a in sets[0]]
  rows = {
    "closest caption": np.argmax(np.asarray(shared), axis=1),
    "nearest picture": nearest_to(own.images, train.images)[0],
  }
  return {name: Pictures(train.images[chosen], None) for name, chosen in rows.items()}


def nearest_to(pictures: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns which of ``others`` uint8 [M, ...] is nearest to each picture uint8 [N, ...], the first of equals.

  Returns:
    int64 [N], and the root mean square difference of pixels, float64 [N], where white is 1.
  """
  chosen, least = np.zeros(len(pictures), np.int64), np.full(len(pictures), np.inf)
  for first in range(0, len(others), _OTHERS):
    squares = distances(pictures, others[first : first + _OTHERS])
    best = np.argmin(squares, axis=1)
    value = squares[np.arange(len(pictures)), best]
    chosen, least = np.where(value < least, first + best, chosen), np.minimum(value, least)
  return chosen, np.sqrt(np.maximum(least, 0.0) / pictures[0].size) / 255.0


def without_margin(pictures: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """Crops pictures that padding enlarged to the middle [N, *shape[:2], C]; smaller ones stay as they are."""
  top, left = (max(have - want, 0) // 2 for have, want in zip(pictures.shape[1:3], shape[:2], strict=True))
  return pictures[:, top : top + shape[0], left : left + shape[1]]


def drawn(sampler: Sampler, state: PyTree, seed: int, num: int, reference: Dataset, draws: int = 1) -> Pictures:
  """Draws ``num`` pictures of a model, rounded to uint8 and without the margin that its training images have.

  With several ``draws`` each is drawn as often, given the same; the first are those of a single draw.

  Raises:
    ConfigError: several draws of a model without latents.
  """
  if draws > 1:
    sampler.check_latents(state, f"draws={draws}")
  labels = sampler.labels(seed, np.arange(num)) if sampler.labelled else None
  given = sampler.given(seed, np.arange(num)) if draws > 1 else None

  def drawing(number: int) -> np.ndarray:
    batches = sampler.batches(state, seed, np.arange(num) + number * num, given)
    if reference.source.kind == "points":
      return np.concatenate(list(batches))
    parts = [without_margin(images.to_uint8(x, reference.pixel_range), reference.image_shape) for x in batches]
    return np.concatenate(parts)

  if draws == 1:
    return Pictures(drawing(0), labels)
  all_draws = np.stack([drawing(number) for number in range(draws)])
  return Pictures(all_draws[0], labels, draws=all_draws)


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


def holes(examples: Examples, num: int, shape: tuple[int, int, int], reference: Dataset) -> np.ndarray | None:
  """Returns where the first ``num`` examples lack pixels, bool [N, H, W]; None if what is seen of them has no mask.

  ``shape`` is that of a model's pictures: a mask is one channel more.
  """
  middle, parts = sum(reference.pixel_range) / 2, []
  for start in range(0, num, BATCH):
    seen = np.asarray(examples(np.arange(start, min(start + BATCH, num)))["seen"])
    if seen.shape[1:] != (*shape[:2], shape[2] + 1):
      return None
    parts.append(without_margin(seen[..., -1:], reference.image_shape)[..., 0] > middle)
  return np.concatenate(parts)


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
