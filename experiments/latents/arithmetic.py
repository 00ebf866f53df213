"""Sums of latents whose pictures a classifier names, and the picture of such a sum (Radford et al. 2015, Figure 7)."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy import special

from common import random
from common.data import images
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features import classifier_file
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Context, open_extractor
from common.evaluation.pictures import without_margin
from common.evaluation.sampling import Sampler
from common.types import Array, Latents, PyTree

NEIGHBOURS = 8  # around the result, 3x3


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Names the classes of images in ``spec.pixel_range``, which are cut to ``shape`` where training padded them."""

  name: str
  num_classes: int
  embedder: Embedder
  spec: Spec
  shape: tuple[int, int, int]

  def log_odds(self, pictures: np.ndarray) -> np.ndarray:
    """Returns log p / (1 - p) of each class, [N, K]; unlike p it does not round to 1, so the surest differ."""
    pixels = without_margin(images.to_uint8(pictures, self.spec.pixel_range), self.shape)
    logits = np.asarray(self.embedder(pixels).logits, np.float64)
    others = np.where(np.eye(self.num_classes, dtype=bool), -np.inf, logits[:, None, :])
    return logits - special.logsumexp(others, axis=-1)


def classifier_of(features: str, data: Any, spec: Spec, mesh: Mesh, weights: Path) -> Classifier:
  """Returns the classifier that ``features`` names, for images of a model that was trained on ``data``, config.data.

  Raises:
    ConfigError: none of that name or for that data set, or features without classes.
  """
  name, _, argument = features.partition(":")
  shape = spec.image_shape
  padded = spec.kind == "images" and data.resize == "pad"
  # Without the margin that padding added for training, the images have the smallest size that a classifier has.
  file = classifier_file.find(argument or data.name, (1, 1)) if padded and name == "classifier" else None
  if file is not None:
    height, width, _ = classifier_file.load(file).spec.image_shape
    shape = (min(height, shape[0]), min(width, shape[1]), shape[2])
  way_out = "take --features=module:function, one of your own"
  if spec.kind == "images":
    way_out = (
      "take --features=classifier:FILE.safetensors, which experiments.train --config=classifier:... trains on pictures "
      "like these and experiments.export_classifier writes, or --features=module:function"
    )
  try:
    extractor = open_extractor(features, Context(shape, spec.kind, data.name, weights))
  except ConfigError as error:
    if spec.kind == "images" and name not in ("classifier", "stacked"):
      raise
    # Its own advice after the semicolon is for scores, and names extractors that know no classes.
    raise ConfigError(f"--features={features}: {str(error).partition(';')[0]}; {way_out}") from None
  if extractor.num_classes < 2:
    raise ConfigError(f"--features={features} names no classes; {way_out}")
  name = extractor.name if extractor.accuracy is None else f"{extractor.name} (test accuracy {extractor.accuracy:.1%})"
  return Classifier(name, extractor.num_classes, Embedder(extractor, mesh), spec, shape)


@dataclasses.dataclass(frozen=True)
class Sum:
  """A sum of latents as images, and what a classifier sees in them.

  Attributes:
    exemplars: [T, A, H, W, C], for each of T terms the A images that are surest to show its class.
    odds: log odds of the terms' classes for them, [T, A].
    means: images of the terms' mean latents, [T, H, W, C].
    result: images of the sum and of its neighbours, [1 + 8, H, W, C].
    named: log odds of means and result, [T + 1 + 8, K].
    length: |z| of the sum, and its mean over all sampled latents.
    beyond: number of the sum's coordinates that are larger than any sampled one, and number of coordinates.
  """

  exemplars: np.ndarray
  odds: np.ndarray
  means: np.ndarray
  result: np.ndarray
  named: np.ndarray
  length: tuple[float, float]
  beyond: tuple[int, int]

  def report(self, terms: list[tuple[int, int]], classifier: str, num: int) -> list[str]:
    """Describes the picture in lines of text."""
    count, average = self.exemplars.shape[:2]
    lines = [f"classes are named by {classifier}, exemplars chosen from {num:,} pictures"]
    for (sign, label), odds, mean in zip(terms, self.odds, self.named, strict=False):
      lines.append(
        f"{'+' if sign > 0 else '-'}{label}: {average} exemplars, the least sure of probability "
        f"{special.expit(odds.min()):.3f}; the picture of their mean is named {_name(mean)}"
      )
    result, *neighbours = np.argmax(self.named[count:], axis=1)
    return [
      *lines,
      f"the result is named {_name(self.named[count])}; {neighbours.count(result)} of {len(neighbours)} neighbours are "
      "named the same",
      f"its latent has length {self.length[0]:.2f}, drawn ones {self.length[1]:.2f} on average; {self.beyond[0]} of "
      f"{self.beyond[1]} coordinates are beyond all drawn ones, and stay there",
    ]


def _name(odds: np.ndarray) -> str:
  return f"{np.argmax(odds)} with probability {special.expit(np.max(odds)):.3f}"


def add_terms(
  sampler: Sampler,
  state: PyTree,
  classifier: Classifier,
  terms: list[tuple[int, int]],
  *,
  num: int,
  average: int,
  noise: float,
  seed: int,
) -> Sum:
  """Adds signed classes, each the mean of the ``average`` latents that ``classifier`` is surest of among ``num``.

  Raises:
    ConfigError: fewer pictures of a class than ``average``.
  """
  z = sampler.latents(state, seed, np.arange(num))
  drawn = sampler.decode(state, z, None)
  odds = classifier.log_odds(drawn)
  chosen = np.stack([_surest(odds, label, average) for _, label in terms])
  signs = np.asarray([sign for sign, _ in terms], np.float32)
  shown = _summed(z, chosen, signs, noise, np.uint32(seed))
  pictures = sampler.decode(state, shown, None)
  total, sampled = _flat(shown)[len(terms)], _flat(z)
  return Sum(
    exemplars=drawn[chosen],
    odds=np.stack([odds[rows, label] for rows, (_, label) in zip(chosen, terms, strict=True)]),
    means=pictures[: len(terms)],
    result=pictures[len(terms) :],
    named=classifier.log_odds(pictures),
    length=(float(np.linalg.norm(total)), float(np.mean(np.linalg.norm(sampled, axis=1)))),
    beyond=(int(np.sum(np.abs(total) > np.max(np.abs(sampled)))), len(total)),
  )


def _surest(odds: np.ndarray, label: int, average: int) -> np.ndarray:
  """Returns the ``average`` rows that are named ``label`` with the highest odds, by falling odds."""
  named = np.flatnonzero(np.argmax(odds, axis=1) == label)
  if len(named) < average:
    raise ConfigError(
      f"of {len(odds):,} pictures {len(named)} are named class {label}, fewer than --average={average}; "
      "raise --num, or take another class or checkpoint"
    )
  return named[np.argsort(-odds[named, label], kind="stable")[:average]]


@jax.jit
def _summed(z: Latents, chosen: Array, signs: Array, noise: Array, seed: Array) -> Latents:
  """Returns the means of the rows ``chosen`` [T, A], their sum with ``signs`` [T], and neighbours: [T + 1 + 8, ...]."""
  rng = random.stream(jax.random.key(seed), "neighbours")
  leaves, treedef = jax.tree.flatten(z)

  def layer(i: int, x: Array) -> Array:
    means = jnp.mean(x[chosen], axis=1)
    total = jnp.tensordot(signs, means, axes=1)[None]
    rows = random.row_keys(jax.random.fold_in(rng, i), jnp.arange(NEIGHBOURS))
    around = total + noise * random.uniform(rows, x.shape[1:], -1.0, 1.0)
    return jnp.concatenate([means, total, around])

  return jax.tree.unflatten(treedef, [layer(i, x) for i, x in enumerate(leaves)])


def _flat(z: Latents) -> np.ndarray:
  """Returns all coordinates of each latent, [N, D]."""
  return np.concatenate([np.asarray(x).reshape(len(x), -1) for x in jax.tree.leaves(z)], axis=1)


def panel(found: Sum, pixel_range: tuple[float, float]) -> np.ndarray:
  """Draws uint8 [H, W, C]: for each term a column of exemplars above their mean, a gap, and 3x3 around the result."""
  count, average, *shape = found.exemplars.shape
  rows = max(average + 1, 3)
  cells = np.full((rows, count + 4, *shape), 128, np.uint8)
  cells[:average, :count] = images.to_uint8(found.exemplars, pixel_range).swapaxes(0, 1)
  cells[average, :count] = images.to_uint8(found.means, pixel_range)
  block = np.insert(found.result[1:], 4, found.result[0], axis=0)
  cells[rows - 3 :, count + 1 :] = images.to_uint8(block, pixel_range).reshape(3, 3, *shape)
  return images.grid(cells.reshape(-1, *shape), count + 4)
