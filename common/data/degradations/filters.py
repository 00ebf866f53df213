"""Blurs; each image may have a kernel of its own. Images are mirrored at their outer pixels, edges not repeated."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from common.data.degradations.degradation import Degradation, Range, check_range, drawn, ends_of
from common.types import Array, Images


def offsets(size: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the places (x, y) of a kernel's entries from its middle, [size, size] each; y grows downwards."""
  line = np.arange(size, dtype=np.float32) - size // 2
  return np.meshgrid(line, line)


def quadratic(sigma_x: Array, sigma_y: Array, angle: Array, size: int) -> Array:
  """Squared Mahalanobis distances from the middle under deviations [B] along axes turned by ``angle``, [B, k, k]."""
  x, y = offsets(size)
  sigma_x, sigma_y, angle = (value[:, None, None] for value in (sigma_x, sigma_y, angle))
  along, across = x * jnp.cos(angle) + y * jnp.sin(angle), y * jnp.cos(angle) - x * jnp.sin(angle)
  return (along / sigma_x) ** 2 + (across / sigma_y) ** 2


def sinc(cutoff: Array, size: int) -> Array:
  """The circular low-pass filter c J1(c r) / (2 pi r), c [B] in radians a pixel -> [B, size, size], not normalised."""
  x, y = offsets(size)
  radii, place = np.unique(x**2 + y**2, return_inverse=True)  # the entries have few distinct radii
  c, r = cutoff[:, None], np.sqrt(np.maximum(radii, 1.0))
  values = jnp.where(radii > 0.0, c * _bessel_j1(c * r) / (2 * np.pi * r), c**2 / (4 * np.pi))
  return values[:, place.reshape(size, size)]


def _bessel_j1(x: Array) -> Array:
  """J1(x) for |x| < 60 by the midpoint rule for Bessel's integral, whose error falls faster than any power."""
  t = (np.arange(64, dtype=np.float32) + 0.5) * np.float32(np.pi / 64)
  return jnp.mean(jnp.cos(t - x[..., None] * np.sin(t)), axis=-1)


def normalised(kernels: Array) -> Array:
  return kernels / jnp.sum(kernels, axis=(1, 2), keepdims=True)


def convolved(x: Images, kernels: Array) -> Images:
  """Correlates images [B, H, W, C] with kernels [B, k, k] (k odd) of their own, whose middle is at [k // 2, k // 2]."""
  margin = kernels.shape[1] // 2
  return valid(jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect"), kernels)


def valid(x: Images, kernels: Array) -> Images:
  """Correlates where the whole kernel lies in the image: [B, H + k - 1, W + k - 1, C], [B, k, k] -> [B, H, W, C]."""
  size, (_, height, width, _) = kernels.shape[1] - 1, x.shape
  spectrum = jnp.fft.rfft2(x, axes=(1, 2)) * jnp.conj(jnp.fft.rfft2(kernels, (height, width)))[..., None]
  return jnp.fft.irfft2(spectrum, (height, width), axes=(1, 2))[:, : height - size, : width - size]


def round_gaussian(sigma: Array, radius: int) -> Array:
  """Gaussian kernels of deviations [B] in pixels, cut off at ``radius``, [B, 2 radius + 1, 2 radius + 1]."""
  sigma = jnp.maximum(sigma, 1e-3)
  return normalised(jnp.exp(-0.5 * quadratic(sigma, sigma, jnp.zeros_like(sigma), 2 * radius + 1)))


def sharpened(x: Images) -> Images:
  """Sharpens by an unsharp mask as Real-ESRGAN's code does: deviation 8, weight 1/2 where it is above 10/255."""
  kernels = round_gaussian(jnp.full(len(x), 8.0), 25)
  detail = x - convolved(x, kernels)
  mask = convolved((jnp.abs(detail) * 255.0 > 10.0).astype(jnp.float32), kernels)
  return x + mask * (jnp.clip(x + 0.5 * detail, 0.0, 1.0) - x)


@dataclasses.dataclass(frozen=True)
class GaussianBlur(Degradation):
  """Blurs by a Gaussian, cut off at 4 deviations.

  Attributes:
    sigma: its deviation in pixels, or (low, high) of which each image draws its own.
  """

  sigma: Range

  def __post_init__(self) -> None:
    check_range("sigma", self.sigma, 0.0, 32.0)

  def __call__(self, x: Images, keys: Array) -> Images:
    radius = int(4.0 * ends_of(self.sigma)[1] + 0.5)
    return convolved(x, round_gaussian(drawn(self.sigma, keys, "sigma"), radius))


@dataclasses.dataclass(frozen=True)
class MotionBlur(Degradation):
  """Blurs along a straight line: an entry of the kernel is 1 minus its distance from the line, or 0 (as fspecial).

  Attributes:
    length: pixels on the line.
    angle: its direction in degrees from the line to the column.
  """

  length: Range
  angle: Range = (0.0, 180.0)

  def __post_init__(self) -> None:
    check_range("length", self.length, 1.0, 63.0)
    check_range("angle", self.angle, -360.0, 360.0)

  def __call__(self, x: Images, keys: Array) -> Images:
    length = drawn(self.length, keys, "length")[:, None, None]
    angle = jnp.deg2rad(drawn(self.angle, keys, "angle"))[:, None, None]
    column, line = offsets(2 * int((ends_of(self.length)[1] + 1.0) / 2.0) + 1)
    along, across = column * jnp.cos(angle) + line * jnp.sin(angle), line * jnp.cos(angle) - column * jnp.sin(angle)
    distance = jnp.hypot(jnp.maximum(jnp.abs(along) - (length - 1.0) / 2.0, 0.0), across)
    return convolved(x, normalised(jnp.maximum(1.0 - distance, 0.0)))
