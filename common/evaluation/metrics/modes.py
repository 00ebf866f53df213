"""The number of modes that samples cover, and how evenly, for distributions with known modes.

Metz et al. 2017 (arXiv:1611.02163), Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761) and Lin et al. 2018 (PacGAN,
arXiv:1712.04086). Counts rise and divergences fall with the number of samples, so that only equal numbers compare.
"""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from scipy import special

from common.data.procedural import gaussian_modes
from common.errors import ConfigError
from common.evaluation.metrics.labels import channel_classes, labels_of, logits_of, share
from common.evaluation.metrics.score import Need, SampleSet, Score

MOST_MODES = 1_000_000
TRUE_SHARE = 0.75  # the least share of real points at a mode; it should be 0.9889
CALIBRATED = (1.0, 0.5, 0.3, 0.1, 0.01)  # shares of all modes, for which real images are counted


def uniform_divergence(counts: np.ndarray) -> tuple[float, float]:
  """Returns KL(p || uniform) in nats of a histogram [K], and its standard error by a jackknife over samples."""
  total, modes = counts.sum(), len(counts)
  terms, fewer = counts * _log(counts), np.maximum(counts - 1, 0) * _log(counts - 1)
  without = (terms.sum() - terms + fewer) / (total - 1) + np.log(modes / (total - 1))
  mean = np.sum(counts * without) / total
  error = np.sqrt((total - 1) / total * np.sum(counts * (without - mean) ** 2))
  return float(terms.sum() / total + np.log(modes / total)), float(error)


def modes_hit(counts: np.ndarray, least: int) -> tuple[float, float]:
  """Returns the number of modes with ``least`` or more samples, from counts [K], and its standard error.

  The error is the spread over fresh sets of as many samples with the observed shares, in which a mode that has just
  enough may be missed. Modes are taken as independent, which they nearly are.
  """
  total = int(counts.sum())
  again = special.betainc(least, max(total - least + 1, 1), counts / max(total, 1))  # probability of ``least`` or more
  return float(np.sum(counts >= least)), float(np.sqrt(np.sum(again * (1.0 - again))))


def stacked_modes(logits: np.ndarray, channels: int) -> tuple[np.ndarray, int]:
  """Returns the mode of each image, int64 [N], and the number of modes, K^channels, for logits [N, channels * K].

  Raises:
    ValueError: logits that do not divide into channels, or too many modes to count.
  """
  classes, rest = divmod(logits.shape[1], channels)
  if rest or classes < 2:
    raise ValueError(f"{logits.shape[1]} logits are not those of channels={channels} with 2 or more classes each")
  if classes**channels > MOST_MODES:
    raise ValueError(f"{classes}^{channels} modes are too many to count; take fewer channels")
  return _mode(np.argmax(logits.reshape(len(logits), channels, classes), axis=2), classes), classes**channels


@dataclasses.dataclass(frozen=True)
class StackedModes:
  """Modes of stacked images, whose channels a classifier names separately: 10^3 modes for three channels of digits.

  The logits must come channel by channel, [N, channels * K]. "modes" counts the modes with a quarter or more of the
  images that a perfect generator would give them; "modes_kl" is KL(generated || uniform). 26,000 generated images are
  usual. Published counts take one image as enough (as PacGAN's code, which has the same divergence), and therefore
  count misread images: with an error of 1 % per channel, 26,000 perfect images contain 780 strays.

  The score's "calibration" is the result for real images of a part of the modes. For each share in CALIBRATED, that
  number of true modes is chosen, as many images are assembled from real channels of their classes, and the classifier's
  readings of these channels are counted in the same way.

  Attributes:
    channels: channels of the images; 1 to take the classes themselves as modes.
    least_share: share of the expected images per mode that a mode needs to count; 0 for one image, as published.
  """

  channels: int = 3
  least_share: float = 0.25
  needs: ClassVar[frozenset[Need]] = frozenset({"logits"})
  better: ClassVar[dict[str, str]] = {"modes": "max", "modes_kl": "min"}

  def __post_init__(self) -> None:
    if self.channels < 1:
      raise ConfigError(f"channels={self.channels} must be 1 or more")
    if not 0.0 <= self.least_share < 1.0:
      raise ConfigError(f"least_share={self.least_share} must be in [0, 1)")

  def least(self) -> tuple[int, int]:
    return 1, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    logits = logits_of(fake, "generated")
    if len(logits) < 2:
      raise ValueError(f"{len(fake)} generated pictures: 2 or more are needed")
    modes, total = stacked_modes(logits, self.channels)
    expected = self.least_share * len(modes) / total
    if self.least_share and expected <= 1.0:
      raise ValueError(
        f"{len(modes):,} generated pictures are too few for {total:,} modes: one of them would be a mode; draw more "
        f"than {math.ceil(total / self.least_share):,}"
      )
    least = max(math.ceil(expected), 1)
    counts = np.bincount(modes, minlength=total)
    hit, divergence = modes_hit(counts, least), uniform_divergence(counts)
    about = {"calibration": self._calibration(real, len(modes), least, seed)}
    method = f"binomial over {len(modes)} pictures, {total} modes of which one with {least} or more counts"
    return {
      "modes": Score(*hit, method, about, range=(0.0, total)),
      "modes_kl": Score(*divergence, f"jackknife over {len(modes)} pictures", about, range=(0.0, math.log(total))),
    }

  def _calibration(self, real: SampleSet, num: int, least: int, seed: int) -> list[dict[str, Any]] | str:
    """Returns [{"true": modes, "modes": as counted, "modes_kl": their divergence}], or why there is none."""
    logits = logits_of(real, "real")
    classes = logits.shape[1] // self.channels
    if real.labels is None:
      return "none: the real pictures have no labels"
    true = channel_classes(labels_of(real, "real"), classes, self.channels)
    if true is None or np.any((counts := np.bincount(true.ravel(), minlength=classes)) == 0):
      return f"none: the real pictures are not of all the {classes} classes of the classifier"
    seen = np.argmax(logits.reshape(true.shape + (classes,)), axis=2).ravel()[np.argsort(true, axis=None)]
    generator, total = np.random.Generator(np.random.Philox(seed)), classes**self.channels
    found = []
    for share_of_modes in CALIBRATED:
      few = max(round(share_of_modes * total), 1)
      chosen = generator.choice(generator.permutation(total)[:few], num)
      digits = np.stack(np.unravel_index(chosen, (classes,) * self.channels), axis=1)
      rows = np.cumsum(counts)[digits] - 1 - (generator.random(digits.shape) * counts[digits]).astype(np.int64)
      read = np.bincount(_mode(seen[rows], classes), minlength=total)
      found.append({"true": few, "modes": modes_hit(read, least)[0], "modes_kl": uniform_divergence(read)[0]})
    return found


@dataclasses.dataclass(frozen=True)
class MixtureModes:
  """Modes of ``gaussians8``, a mixture of Gaussians in the plane, as in VEEGAN.

  "high_quality" is the share of generated points within 3 standard deviations of a centre (0.9889 for the true
  distribution), and "mixture_modes" the number of centres with such a point. "mixture_modes_kl" is
  KL(generated || uniform) in nats, where each point counts for its nearest centre as in PacGAN.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"images"})
  better: ClassVar[dict[str, str]] = {"mixture_modes": "max", "high_quality": "max", "mixture_modes_kl": "min"}

  def least(self) -> tuple[int, int]:
    return 1, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    near_real, (modes, near) = self._assign(real, "real")[1], self._assign(fake, "generated")
    if np.mean(near_real) < TRUE_SHARE:
      raise ValueError(f"{np.mean(near_real):.0%} of the real points lie at the modes of gaussians8, which this counts")
    centres = len(gaussian_modes()[0])
    good, counts = (np.bincount(rows, minlength=centres) for rows in (modes[near], modes))
    method, most = f"binomial over {len(fake)} points, {centres} modes", math.log(centres)
    return {
      "mixture_modes": Score(*modes_hit(good, 1), method, range=(0.0, centres)),
      "high_quality": share(near, "generated points"),
      "mixture_modes_kl": Score(*uniform_divergence(counts), f"jackknife over {len(fake)} points", range=(0.0, most)),
    }

  def _assign(self, samples: SampleSet, whose: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns each point's nearest centre [N], and whether it is within 3 standard deviations of it [N]."""
    points = np.asarray(samples.images)
    if points.shape[1:] != (1, 1, 2) or points.dtype.kind != "f" or len(points) < 2:
      raise ValueError(f"{points.dtype} of shape {points.shape} are not 2 or more {whose} points, float [N, 1, 1, 2]")
    if not np.all(np.isfinite(points)):
      raise ValueError(f"{np.sum(~np.isfinite(points).all(axis=(1, 2, 3)))} of {len(points)} points are not finite")
    centres, deviation = gaussian_modes()
    distances = np.linalg.norm(points.reshape(-1, 1, 2) - centres, axis=2)
    return np.argmin(distances, axis=1), np.min(distances, axis=1) <= 3.0 * deviation


def _mode(digits: np.ndarray, classes: int) -> np.ndarray:
  """Returns the index of the mode whose channels show the given classes, [N, channels] -> int64 [N]."""
  return digits @ classes ** np.arange(digits.shape[1] - 1, -1, -1)


def _log(counts: np.ndarray) -> np.ndarray:
  """Returns log c, and 0 where c is 0 or less."""
  return np.log(np.maximum(counts, 1))
