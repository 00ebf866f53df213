"""How alike pictures of one origin are: the multi-scale structural similarity of pairs (Wang et al. 2003).

A model whose pictures are more alike than real ones lacks diversity; less alike than real ones is no merit.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.errors import ConfigError
from common.evaluation.metrics.estimate import Estimate, estimate
from common.evaluation.metrics.labels import labels_of
from common.evaluation.metrics.score import Need, SampleSet, Score
from common.types import Array

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first (Wang et al. 2003)
WINDOW, DEVIATION = 11, 1.5  # of the Gaussian window (Wang et al. 2004)
LUMINANCE, CONTRAST = 0.01**2, 0.03**2  # the constants C1 and C2, for pixels in [0, 1]
BLOCK = 1 << 22  # pixels on the device at once


def scales_that_fit(height: int, width: int) -> tuple[int, int]:
  """(number of scales, side of the window): five of 11 from 176 pixels on, two at 28 and 32.

  A picture smaller than the window has one scale and a window of its own size, its deviation in proportion.
  """
  side = min(height, width)
  fitting = sum(side >> scale >= WINDOW for scale in range(len(WEIGHTS)))
  return max(1, fitting), min(WINDOW, side)


@jax.jit
def ms_ssim(first: Array, second: Array) -> Array:
  """Similarity of pictures [B, H, W, C] in [0, 1] with those of the other set at their place, [B]; 1 of equal ones.

  Equation 7 of Wang et al. 2003 by channel, then the mean over channels, with as many scales as `scales_that_fit`,
  their weights divided by their sum. Windows lie within the picture. A scale is half the last by the mean of 2x2
  pixels, without an odd row or column. A scale whose structure is below 0 on average counts as 0.
  """
  batch, height, width, channels = first.shape
  scales, window = scales_that_fit(height, width)
  x, y = (jnp.moveaxis(image, 3, 1).reshape(-1, height, width) for image in (first, second))
  weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
  out = jnp.ones(len(x))
  for scale in range(scales):
    similarity, structure = _ssim(x, y, window)
    out *= jnp.maximum(structure if scale < scales - 1 else similarity, 0.0) ** weights[scale]
    x, y = _halved(x), _halved(y)
  return jnp.mean(out.reshape(batch, channels), axis=1)


def _ssim(x: Array, y: Array, window: int) -> tuple[Array, Array]:
  """Means over the picture of similarity and of its contrast and structure part, [B, H, W] -> ([B], [B])."""
  blur = functools.partial(_blurred, window=window)
  mean_x, mean_y = blur(x), blur(y)
  var_x, var_y, covariance = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
  structure = (2.0 * covariance + CONTRAST) / (var_x + var_y + CONTRAST)
  luminance = (2.0 * mean_x * mean_y + LUMINANCE) / (mean_x**2 + mean_y**2 + LUMINANCE)
  return jnp.mean(luminance * structure, axis=(1, 2)), jnp.mean(structure, axis=(1, 2))


def _blurred(x: Array, window: int) -> Array:
  """Weighted means of all windows within [B, H, W], [B, H - window + 1, W - window + 1]."""
  places = np.arange(window) - (window - 1) / 2
  kernel = np.exp(-0.5 * (places / (DEVIATION * window / WINDOW)) ** 2)
  kernel = jnp.asarray(kernel / kernel.sum(), jnp.float32)
  for shape in ((1, 1, window, 1), (1, 1, 1, window)):
    x = lax.conv(x.reshape(len(x), 1, *x.shape[-2:]), kernel.reshape(shape), (1, 1), "VALID", lax.Precision.HIGHEST)
  return x[:, 0]


def _halved(x: Array) -> Array:
  """Means of 2x2 pixels, [B, H, W] -> [B, H // 2, W // 2]."""
  height, width = x.shape[1] // 2, x.shape[2] // 2
  return jnp.mean(x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2), axis=(2, 4))


@dataclasses.dataclass(frozen=True)
class MsSsim:
  """Mean similarity of random pairs of generated pictures, and that of real pairs to hold it against.

  No picture is in two pairs: pairs are independent, and the error is that of their mean.

  Attributes:
    pairs: of each set; half the pictures where those are fewer.
  """

  pairs: int = 1000
  needs: ClassVar[frozenset[Need]] = frozenset({"images"})
  better: ClassVar[dict[str, str]] = {"ms_ssim": "", "ms_ssim_real": ""}

  def __post_init__(self) -> None:
    _check_pairs(self.pairs)

  def least(self) -> tuple[int, int]:
    return 4, 4

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    scores = {}
    for name, samples, whose in (("ms_ssim", fake, "generated"), ("ms_ssim_real", real, "real")):
      if len(samples) < 4:
        raise ValueError(f"{len(samples)} {whose} pictures make no two pairs; take 4 or more")
      draws = np.random.Generator(np.random.Philox(seed))
      found = _pair_mean(samples, np.arange(len(samples)), self.pairs, draws)
      method = f"{found.count} pairs, {_scales_of(samples)}"
      scores[name] = Score(found.mean, found.standard_error, method, range=(0.0, 1.0), freedom=found.count - 1)
    return scores


@dataclasses.dataclass(frozen=True)
class MsSsimWithinClass:
  """The same of pairs of one class, mean over the classes (Odena et al. 2017, arXiv:1610.09585).

  Attributes:
    pairs: of each class and set; half the pictures of a class where those are fewer.
  """

  pairs: int = 100
  needs: ClassVar[frozenset[Need]] = frozenset({"images", "labels"})
  better: ClassVar[dict[str, str]] = {"ms_ssim_within_class": "", "ms_ssim_within_class_real": ""}

  def __post_init__(self) -> None:
    _check_pairs(self.pairs)

  def least(self) -> tuple[int, int]:
    return 4, 4

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    scores = {}
    for end, samples, whose in (("", fake, "generated"), ("_real", real, "real")):
      labels, draws = labels_of(samples, whose), np.random.Generator(np.random.Philox(seed))
      classes, found = np.unique(labels), []
      for label in classes:
        rows = np.flatnonzero(labels == label)
        if len(rows) < 4:
          raise ValueError(f"{len(rows)} {whose} pictures of class {label} make no two pairs; take more samples")
        found.append(_pair_mean(samples, rows, self.pairs, draws))
      error = np.sqrt(sum(each.standard_error**2 for each in found)) / len(found)
      method = f"{sum(each.count for each in found)} pairs of {len(classes)} classes, {_scales_of(samples)}"
      mean = float(np.mean([each.mean for each in found]))
      scores[f"ms_ssim_within_class{end}"] = Score(mean, float(error), method, range=(0.0, 1.0))
    return scores


def _check_pairs(pairs: int) -> None:
  if pairs < 2:
    raise ConfigError(f"pairs={pairs}: a standard error needs 2 or more")


def _pair_mean(samples: SampleSet, rows: np.ndarray, pairs: int, draws: np.random.Generator) -> Estimate:
  """Of at most so many pairs of these pictures, none of them in two."""
  count = min(pairs, len(rows) // 2)
  chosen = draws.permutation(rows)[: 2 * count].reshape(2, count)
  size = min(pairs, max(1, BLOCK // int(np.prod(samples.images.shape[1:]))))
  values = []
  for start in range(0, count, size):
    # The last pair comes again, so that all blocks have one shape, also of classes of different sizes.
    block = chosen[:, np.minimum(np.arange(start, start + size), count - 1)]
    values.append(np.asarray(ms_ssim(*(_unit_range(samples.images[half]) for half in block)))[: count - start])
  return estimate(np.concatenate(values))


def _unit_range(images: np.ndarray) -> np.ndarray:
  """uint8 [B, H, W, C] -> float32 in [0, 1]."""
  if images.dtype != np.uint8:
    raise ValueError(f"pictures of {images.dtype} have no structural similarity; it is defined for uint8 images")
  return images.astype(np.float32) / 255.0


def _scales_of(samples: SampleSet) -> str:
  """What of the method's five scales these pictures are large enough for."""
  scales, window = scales_that_fit(*samples.images.shape[1:3])
  return f"{scales} of {len(WEIGHTS)} scales, window {window}x{window}"
