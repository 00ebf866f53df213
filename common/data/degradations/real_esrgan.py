"""The degradation of Real-ESRGAN: two rounds of blur, resizing, noise and JPEG, each image with its own.

Wang et al. 2021 (arXiv:2107.10833), with the order and the numbers of the authors' code and its
train_realesrgan_x4plus.yml. There, the images of a batch share the factors and modes of resizing, the kind of noise
and the order of the last steps, for which a queue of 180 images makes up; here each image draws its own. Their JPEG
has tables that are not rounded and repeats chroma values; here it is a file's.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from common import random
from common.data.degradations import canvas, filters, grey, jpeg, noise
from common.data.degradations.degradation import Degradation, Shape
from common.data.degradations.resize import shrunk
from common.types import Array, Images

SIZE = 21  # of all kernels; theirs are smaller, and zero around


@dataclasses.dataclass(frozen=True)
class Round:
  """The numbers of one round: probabilities, and ranges from which uniform draws come."""

  blur: float  # probability of a blur
  sigma: tuple[float, float]
  directions: tuple[float, float, float]  # odds of larger, smaller and the same
  factors: tuple[float, float]  # the smallest and the largest
  gaussian: tuple[float, float]  # deviation in grey levels of 255
  poisson: tuple[float, float]  # the factor of Poisson noise


FIRST = Round(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0))
SECOND = Round(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5))
KINDS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)  # Gaussian, generalised Gaussian, plateau: each isotropic, then not
SINC, LAST_SINC = 0.1, 0.8  # probabilities of a sinc kernel in a round, and at the end
GAUSSIAN, GREY = 0.5, 0.4  # probabilities of Gaussian instead of Poisson noise, and of noise without colour
QUALITY = (30.0, 95.0)


def uniform(keys: Array, name: str, low: float = 0.0, high: float = 1.0) -> Array:
  return random.uniform(random.row_stream(keys, name), (), low, high)


def odds(keys: Array, name: str, weights: tuple[float, ...]) -> Array:
  return random.categorical(random.row_stream(keys, name), jnp.log(jnp.array(weights)))


def mixed_kernel(keys: Array, sigma: tuple[float, float]) -> Array:
  """Draws blur kernels of a round: sizes of 7 to 21, six kinds, or a sinc; keys [B] -> [B, 21, 21]."""
  kind, size = odds(keys, "kind", KINDS), _kernel_size(keys)
  first, second = uniform(keys, "sigma x", *sigma), uniform(keys, "sigma y", *sigma)
  isotropic = kind % 2 == 0
  angle = uniform(keys, "angle", -np.pi, np.pi)
  q = filters.quadratic(first, jnp.where(isotropic, first, second), angle, SIZE)
  upper = uniform(keys, "side") < 0.5
  generalised = jnp.where(upper, uniform(keys, "beta", 1.0, 4.0), uniform(keys, "beta", 0.5, 1.0))
  plateau = jnp.where(upper, uniform(keys, "beta", 1.0, 2.0), 1.0)
  power = jnp.select([kind < 2, kind < 4], [jnp.ones_like(plateau), generalised], plateau)[:, None, None]
  q = jnp.where(q > 0.0, jnp.maximum(q, 1e-12) ** power, 0.0)
  blur = jnp.where((kind < 4)[:, None, None], jnp.exp(-0.5 * q), 1.0 / (1.0 + q))
  lowest = jnp.where(size < 13, np.pi / 3, np.pi / 5)
  cutoff = lowest + (np.pi - lowest) * uniform(keys, "cutoff")
  is_sinc = (uniform(keys, "is sinc") < SINC)[:, None, None]
  return _cut(jnp.where(is_sinc, filters.sinc(cutoff, SIZE), blur), size)


def last_kernel(keys: Array) -> Array:
  """Draws the sinc kernel of the end, or one that changes nothing; keys [B] -> [B, 21, 21]."""
  kernel = _cut(filters.sinc(uniform(keys, "cutoff", np.pi / 3, np.pi), SIZE), _kernel_size(keys))
  return _or_none(uniform(keys, "whether") < LAST_SINC, kernel)


def _kernel_size(keys: Array) -> Array:
  return 7 + 2 * odds(keys, "size", (1.0,) * 8)


def _cut(kernels: Array, size: Array) -> Array:
  x, y = filters.offsets(SIZE)
  inside = np.maximum(np.abs(x), np.abs(y)) <= (size // 2)[:, None, None]
  return filters.normalised(jnp.where(inside, kernels, 0.0))


def _or_none(whether: Array, kernels: Array) -> Array:
  nothing = np.zeros((SIZE, SIZE), np.float32)
  nothing[SIZE // 2, SIZE // 2] = 1.0
  return jnp.where(whether[:, None, None], kernels, nothing)


def noisy(x: Images, sizes: Array, keys: Array, numbers: Round) -> Images:
  """Adds Gaussian or Poisson noise, with or without colour, and clips to [0, 1].

  Poisson noise is scale * (Poisson(n x) / n - x), where n is the number of different values of x in 8 bits, rounded
  up to a power of 2.
  """
  gaussian = random.normal(random.row_stream(keys, "normal"), x.shape[1:])
  shared = random.normal(random.row_stream(keys, "normal, grey"), (*x.shape[1:3], 1))
  without_color = (uniform(keys, "grey") < GREY)[:, None, None, None]
  sigma = uniform(keys, "sigma", *numbers.gaussian)[:, None, None, None] / 255.0
  gaussian = sigma * jnp.where(without_color, shared, gaussian)
  scale = uniform(keys, "scale", *numbers.poisson)[:, None, None, None]
  inside = canvas.continued(x, sizes, 0, "edge")  # what lies beyond has no part in the number of values
  source = noise.quantised(jnp.where(without_color, _grey(inside), inside))
  levels = _levels(source)
  counted = scale * (noise.poisson(source, levels, random.row_stream(keys, "poisson")) - source)
  counted = jnp.where(without_color, counted[..., :1], counted)
  chosen = (uniform(keys, "is gaussian") < GAUSSIAN)[:, None, None, None]
  return jnp.clip(x + jnp.where(chosen, gaussian, counted), 0.0, 1.0)


def _grey(x: Images) -> Images:
  return x if x.shape[-1] == 1 else jnp.broadcast_to(grey.luma(x), x.shape)


def _levels(x: Images) -> Array:
  """Returns 2^ceil(log2(n)) of the n different values in 8 bits of each image, [B]."""
  index = jnp.round(x * 255.0).astype(jnp.int32).reshape(len(x), -1)
  ordered = jnp.sort(index, axis=1)
  count = 1 + jnp.sum(ordered[:, 1:] != ordered[:, :-1], axis=1)
  powers = 2 ** np.arange(9)
  return jnp.min(jnp.where(powers >= count[:, None], powers, 256), axis=1).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class RealEsrgan(Degradation):
  """Shrinks by ``scale`` through the two rounds of Real-ESRGAN; the input is sharpened first, as theirs.

  Attributes:
    scale: the number by which the sides are divided in the end.
  """

  scale: int = 4

  def shape(self, image_shape: Shape) -> Shape:
    height, width, channels = image_shape
    return (*shrunk(height, width, self.scale), channels)

  def __call__(self, x: Images, keys: Array) -> Images:
    height, width = x.shape[1:3]
    small = shrunk(height, width, self.scale)
    first, second, last = (random.row_stream(keys, name) for name in ("first", "second", "last"))
    x = filters.convolved(filters.sharpened(x), mixed_kernel(first, FIRST.sigma))
    factor, whole = _factor(first, FIRST), jnp.full((len(x), 2), np.array([height, width]))
    sizes = _sizes(height, width, factor)
    x = _resized(x, whole, sizes, 1.0 / jnp.stack([factor, factor], axis=1), first, _largest(height, width, FIRST))
    x = noisy(x, sizes, first, FIRST)
    x = jpeg.compressed(canvas.continued(x, sizes, 0, "edge"), uniform(first, "quality", *QUALITY))
    blur = _or_none(uniform(second, "whether") < SECOND.blur, mixed_kernel(second, SECOND.sigma))
    x = filters.valid(canvas.continued(x, sizes, SIZE // 2, "reflect"), blur)
    smaller = _sizes(*small, _factor(second, SECOND))
    x = _resized(x, sizes, smaller, sizes / smaller, second, _largest(*small, SECOND))
    x = noisy(x, smaller, second, SECOND)
    return noise.quantised(_end(canvas.continued(x, smaller, 0, "edge"), smaller, last, small))


def _end(x: Images, sizes: Array, keys: Array, small: tuple[int, int]) -> Images:
  """Resizes to ``small`` and cuts off high frequencies, before or after JPEG."""
  quality = uniform(keys, "quality", *QUALITY)
  before = (uniform(keys, "order") < 0.5)[:, None, None, None]
  x = jnp.where(before, jpeg.compressed(x, quality), x)
  target = jnp.full((len(x), 2), np.array(small))
  x = _resized(x, sizes, target, sizes / target, keys, small)
  x = filters.convolved(x, last_kernel(keys))
  return jnp.where(before, x, jpeg.compressed(x, quality))


def _factor(keys: Array, numbers: Round) -> Array:
  low, high = numbers.factors
  direction, u = odds(keys, "direction", numbers.directions), uniform(keys, "factor")
  return jnp.select([direction == 0, direction == 1], [1.0 + (high - 1.0) * u, low + (1.0 - low) * u], 1.0)


def _sizes(height: int, width: int, factor: Array) -> Array:
  sizes = jnp.floor(factor[:, None] * np.array([height, width], np.float32)).astype(jnp.int32)
  return jnp.maximum(sizes, 1)


def _largest(height: int, width: int, numbers: Round) -> tuple[int, int]:
  return int(height * numbers.factors[1]) + 1, int(width * numbers.factors[1]) + 1


def _resized(x: Images, before: Array, after: Array, ratio: Array, keys: Array, target: tuple[int, int]) -> Images:
  mode = random.integers(random.row_stream(keys, "mode"), 0, 3)
  return canvas.resized(x, before, after, ratio, mode, *target)
