"""Whether a picture that was drawn for a caption is nearer to the picture of that caption than to all others."""

import dataclasses
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.labels import share
from common.evaluation.metrics.score import Need, SampleSet, Score

TONE = r"(medium-)?\b(light|medium|dark) skin tone"
_BLOCK = 512  # pictures of either side whose distances are computed at a time


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns squared Euclidean distances of pixels, uint8 [N, ...] and [M, ...] -> float64 [N, M], without rounding."""
  flat = [z.reshape(len(z), -1).astype(np.float64) for z in (x, y)]
  squares = [np.sum(z**2, axis=1) for z in flat]
  return squares[0][:, None] + squares[1] - 2.0 * flat[0] @ flat[1].T


def words(caption: str) -> tuple[str, ...]:
  """Returns the words of a caption in lower case, without punctuation."""
  return tuple(re.findall(r"\w+", caption.lower()))


@dataclasses.dataclass(frozen=True)
class Retrieval:
  """How often picture i finds real picture i by the distance of pixels, which blurred pictures do less often.

  ``real`` has all pictures of the set, of which the first N belong to the N drawn ones. "recall_at_1" is the share that
  is nearer to its own picture than to any other one. "sibling_accuracy" is the share that is nearer to its own than to
  its siblings, among the pictures that have some; it is left out if none has. Siblings are the pictures whose captions
  differ in the attribute only. An equal picture that is in the set twice is not found.

  Attributes:
    attribute: regular expression of the words in which siblings differ; they may also lack them.
  """

  attribute: str = TONE
  needs: ClassVar[frozenset[Need]] = frozenset({"images", "pairs", "captions"})
  better: ClassVar[dict[str, str]] = {"recall_at_1": "max", "sibling_accuracy": "max"}

  def __post_init__(self) -> None:
    try:
      re.compile(self.attribute)
    except re.error as error:
      raise ValueError(f'attribute="{self.attribute}" is not a regular expression: {error}') from None

  def least(self) -> tuple[int, int]:
    return 2, 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    if real.captions is None or len(real.captions) != len(real):
      raise ValueError("each real picture needs a caption")
    base = self._bases(real.captions)
    found, right = [], []
    for start in range(0, len(fake), _BLOCK):
      rows = np.arange(start, min(start + _BLOCK, len(fake)))
      parts = [real.images[first : first + _BLOCK] for first in range(0, len(real), _BLOCK)]
      far = np.concatenate([distances(fake.images[rows], part) for part in parts], axis=1)
      own = far[np.arange(len(rows)), rows]
      far[np.arange(len(rows)), rows] = np.inf
      found.append(own < far.min(axis=1))
      siblings = np.where(base[rows, None] == base, far, np.inf).min(axis=1)
      right.append((own < siblings)[np.isfinite(siblings)])
    scores = {"recall_at_1": share(np.concatenate(found), "pictures")}
    if len(known := np.concatenate(right)):
      scores["sibling_accuracy"] = share(known, "pictures with siblings")
    return scores

  def _bases(self, captions: Sequence[str]) -> np.ndarray:
    """Returns a number for each caption, which siblings share, [N]."""
    bases = [words(re.sub(self.attribute, " ", caption.lower())) for caption in captions]
    number = {base: i for i, base in enumerate(dict.fromkeys(bases))}
    return np.asarray([number[base] for base in bases])
