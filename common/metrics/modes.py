"""How many modes of a distribution with known ones are hit, and how evenly.

Metz et al. 2017 (arXiv:1611.02163), Srivastava et al. 2017 (VEEGAN, arXiv:1705.07761) and Lin et al. 2018 (PacGAN,
arXiv:1712.04086). Counts rise with the number of samples, and divergences fall: only equal numbers compare.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from common.build import ConfigError
from common.data.procedural import gaussian_modes
from common.metrics.labels import logits_of, share
from common.metrics.score import Need, SampleSet, Score

MIXTURES = ("gaussians8", "gaussians25")
MOST_MODES = 1_000_000
TRUE_SHARE = 0.75  # of real points at a mode, at least: 0.9889 are, and half of those of one mixture lie on the other
UNSEEN = 0.5  # real samples that a mode without any counts as having; else one stray fake made the divergence infinite


def mode_divergence(counts: np.ndarray, reference: np.ndarray) -> float:
  """KL(p || q) in nats of histograms [K]; every mode with counts must have some of the reference."""
  hit = counts > 0
  p, q = counts[hit] / counts.sum(), reference[hit] / reference.sum()
  return float(np.sum(p * np.log(p / q)))


def divergence_error(counts: np.ndarray, reference: np.ndarray, *, known: bool) -> float:
  """The standard error of `mode_divergence`: a jackknife over single samples of either histogram, exact in its sums.

  Args:
    counts: of the first, [K].
    reference: of the second, [K]; UNSEEN where it has none.
    known: the second is the truth, not a sample.
  """
  total, size = counts.sum(), reference.sum()
  terms = _x_log(counts, reference)
  without = (terms.sum() - terms + _x_log(counts - (counts > 0), reference)) / (total - 1) + np.log(size / (total - 1))
  variance = _jackknife_variance(without, counts)
  if not known:
    fewer = np.maximum(reference - 1.0, UNSEEN)
    change = counts / total * np.log(reference / fewer) + np.log((size - reference + fewer) / size)
    variance += _jackknife_variance(change, np.floor(reference))
  return float(np.sqrt(variance))


def modes_hit_error(counts: np.ndarray) -> float:
  """The standard error of the number of modes hit, [K]: a jackknife, in which only modes hit once have a part."""
  return float(np.sqrt(_jackknife_variance(-(counts == 1).astype(np.float64), counts)))


def stacked_modes(logits: np.ndarray, channels: int) -> tuple[np.ndarray, int]:
  """The mode of each picture, int64 [N], and how many there are: K^channels of logits [N, channels * K].

  Raises:
    ValueError: logits that do not divide into channels, or too many modes to count.
  """
  classes, rest = divmod(logits.shape[1], channels)
  if rest or classes < 2:
    raise ValueError(f"{logits.shape[1]} logits are not those of channels={channels} with 2 or more classes each")
  if classes**channels > MOST_MODES:
    raise ValueError(f"{classes}^{channels} modes are too many to count; take fewer channels")
  digits = np.argmax(logits.reshape(len(logits), channels, classes), axis=2)
  return digits @ classes ** np.arange(channels - 1, -1, -1), classes**channels


@dataclasses.dataclass(frozen=True)
class StackedModes:
  """Modes of stacked pictures: each channel is a digit, or a garment, that a classifier names; 10^3 modes of three.

  The logits must come channel by channel, [N, channels * K]. "modes" are those hit by a generated picture, beside
  "modes_real"; "modes_kl" is KL(generated || real) of their histograms. 26,000 generated pictures are usual.

  Attributes:
    channels: of the pictures; 1 for the classes themselves as modes.
  """

  channels: int = 3
  needs: ClassVar[frozenset[Need]] = frozenset({"logits"})
  better: ClassVar[dict[str, str]] = {"modes": "max", "modes_real": "", "modes_kl": "min"}

  def __post_init__(self) -> None:
    if self.channels < 1:
      raise ConfigError(f"channels={self.channels} must be 1 or more")

  def least(self) -> tuple[int, int]:
    return 2, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    sides = [logits_of(rows, whose) for rows, whose in ((real, "real"), (fake, "generated"))]
    if min(len(logits) for logits in sides) < 2:
      raise ValueError(f"{len(real)} real and {len(fake)} generated pictures: 2 or more of each are needed")
    if sides[0].shape[1] != sides[1].shape[1]:
      raise ValueError(f"{sides[0].shape[1]} and {sides[1].shape[1]} logits are not of one classifier")
    found = [stacked_modes(logits, self.channels) for logits in sides]
    real_counts, counts = (np.bincount(modes, minlength=total) for modes, total in found)
    reference = np.where(real_counts > 0, real_counts, UNSEEN)
    count_method = f"jackknife over the pictures, {len(counts)} modes"
    return {
      "modes": Score(float(np.sum(counts > 0)), modes_hit_error(counts), count_method),
      "modes_real": Score(float(np.sum(real_counts > 0)), modes_hit_error(real_counts), count_method),
      "modes_kl": Score(
        mode_divergence(counts, reference),
        divergence_error(counts, reference, known=False),
        f"jackknife over the pictures of both sets, {np.sum(real_counts == 0)} modes without a real one",
      ),
    }


@dataclasses.dataclass(frozen=True)
class MixtureModes:
  """Modes of a mixture of Gaussians in the plane, as in VEEGAN.

  "high_quality" is the share of generated points within 3 standard deviations of a centre, 0.9889 of the truth, and
  "mixture_modes" the centres that have one. "mixture_modes_kl" is KL(generated || uniform) in nats, each point counted
  for its nearest centre as in PacGAN.

  Attributes:
    mixture: "gaussians8" or "gaussians25", the data set.
  """

  mixture: str = "gaussians25"
  needs: ClassVar[frozenset[Need]] = frozenset({"images"})
  better: ClassVar[dict[str, str]] = {"mixture_modes": "max", "high_quality": "max", "mixture_modes_kl": "min"}

  def __post_init__(self) -> None:
    if self.mixture not in MIXTURES:
      raise ConfigError(f'mixture="{self.mixture}" is not one of {", ".join(MIXTURES)}')

  def least(self) -> tuple[int, int]:
    return 1, 2

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    near_real, (modes, near) = self._assign(real, "real")[1], self._assign(fake, "generated")
    if np.mean(near_real) < TRUE_SHARE:
      raise ValueError(
        f'{np.mean(near_real):.0%} of the real points lie at the modes of mixture="{self.mixture}"; name the mixture '
        "that the data set is"
      )
    centres = len(gaussian_modes(self.mixture)[0])
    good, counts = (np.bincount(rows, minlength=centres) for rows in (modes[near], modes))
    uniform = np.ones(centres)
    return {
      "mixture_modes": Score(
        float(np.sum(good > 0)), modes_hit_error(good), f"jackknife over {len(fake)} points, {centres} modes"
      ),
      "high_quality": share(near, "generated points"),
      "mixture_modes_kl": Score(
        mode_divergence(counts, uniform),
        divergence_error(counts, uniform, known=True),
        f"jackknife over {len(fake)} points",
      ),
    }

  def _assign(self, samples: SampleSet, whose: str) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each point [N], and whether it is within 3 standard deviations of it [N]."""
    points = np.asarray(samples.images)
    if points.shape[1:] != (1, 1, 2) or points.dtype.kind != "f" or len(points) < 2:
      raise ValueError(f"{points.dtype} of shape {points.shape} are not 2 or more {whose} points, float [N, 1, 1, 2]")
    if not np.all(np.isfinite(points)):
      raise ValueError(f"{np.sum(~np.isfinite(points).all(axis=(1, 2, 3)))} of {len(points)} points are not finite")
    centres, deviation = gaussian_modes(self.mixture)
    distances = np.linalg.norm(points.reshape(-1, 1, 2) - centres, axis=2)
    return np.argmin(distances, axis=1), np.min(distances, axis=1) <= 3.0 * deviation


def _x_log(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
  """c log(c / r), [K]; 0 where c is."""
  return counts * np.log(np.maximum(counts, 1) / reference)


def _jackknife_variance(without: np.ndarray, counts: np.ndarray) -> float:
  """Of a statistic whose value without one sample of mode i is ``without[i]``, both [K]."""
  total = counts.sum()
  if not total:
    return 0.0
  mean = np.sum(counts * without) / total
  return float((total - 1) / total * np.sum(counts * (without - mean) ** 2))
