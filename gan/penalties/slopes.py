"""Penalties on the gradient of D at images: WGAN-GP's, DRAGAN's, and R1 and R2."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.parallel import batch_mean
from common.schedules import Scheduled
from common.types import Array, Images
from gan.penalties.seen import Seen
from gan.penalties.weights import check_weight, weight_at


def squared_slope(apply_d: Callable[[Images], Array], x: Images) -> Array:
  """|grad_x D(x)|^2 over all pixels and channels of each image, [B, H, W, C] -> [B]."""
  # No logit depends on another example, so the gradient of the sum has each example's own.
  gradients = jax.grad(lambda x: jnp.sum(apply_d(x)))(x)
  return jnp.sum(gradients**2, axis=tuple(range(1, gradients.ndim)))


def _distance_from(target: float, squares: Array) -> Array:
  """(sqrt(squares) - target)^2."""
  # The root has no derivative at 0, where a critic of dead rectifiers is; twice where, so that no nan comes through.
  alive = squares > 0
  norms = jnp.where(alive, jnp.sqrt(jnp.where(alive, squares, 1.0)), 0.0)
  return (norms - target) ** 2


@dataclasses.dataclass(frozen=True)
class GradientPenalty:
  """weight * (|grad_x D(x)| - target)^2 at points between real and fake images (Gulrajani et al. 2017, Eq. 3).

  The norm is over all pixels and channels of an image, and is drawn to the target from both sides. Each pair has its
  own point on the line between its two images.

  Attributes:
    weight: the paper's lambda.
    target: the norm that is aimed at, 1 for a 1-Lipschitz critic.
    every: updates of D from one time to the next.
  """

  weight: float = 10.0
  target: float = 1.0
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)
    if self.target < 0:
      raise ConfigError(f"target={self.target} must be 0 or more: it is a norm")

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    mix = random.uniform(seen.rows, (1,) * (seen.real.ndim - 1))
    between = mix * seen.real + (1.0 - mix) * seen.fake
    return self.weight * _distance_from(self.target, squared_slope(seen.apply_d, between)), aux


@dataclasses.dataclass(frozen=True)
class Dragan:
  """weight * (|grad_x D(x)| - target)^2 near real images (Kodali et al. 2017, Eq. 3).

  A point lies at a random share of the way from an image to the image plus noise of U[0, spread * s) in each pixel, s
  the standard deviation of all pixels of the batch, as the authors' code and Lucic et al. 2018 have it; the paper's
  text has normal noise.

  Attributes:
    weight: the paper's lambda.
    target: the norm that is aimed at, the paper's k.
    spread: of the noise, in standard deviations; the paper's c.
    sigmoid: whether D(x) is the sigmoid of the logit, as Lucic et al. 2018 have it, and not the logit itself.
    every: updates of D from one time to the next.
  """

  weight: float = 10.0
  target: float = 1.0
  spread: float = 0.5
  sigmoid: bool = False
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)
    if self.target < 0 or not self.spread > 0:
      raise ConfigError(f"target={self.target} must be 0 or more, and spread={self.spread} above 0")

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    mean, square = batch_mean((jnp.mean(seen.real), jnp.mean(seen.real**2)), seen.axis_name)
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 0.0))
    noise_rows, mix_rows = (random.row_stream(seen.rows, name) for name in ("noise", "mix"))
    noise = random.uniform(noise_rows, seen.real.shape[1:], 0.0, self.spread) * deviation
    near = seen.real + random.uniform(mix_rows, (1,) * (seen.real.ndim - 1)) * noise

    def apply_d(x: Images) -> Array:
      return jax.nn.sigmoid(seen.apply_d(x)) if self.sigmoid else seen.apply_d(x)

    return self.weight * _distance_from(self.target, squared_slope(apply_d, near)), aux


@dataclasses.dataclass(frozen=True)
class R1:
  """weight / 2 * |grad_x D(x)|^2 at real images (Mescheder et al. 2018, Eq. 9).

  Attributes:
    weight: the paper's gamma, a number or a schedule of D's updates.
    every: updates of D from one time to the next.
  """

  weight: Scheduled = 10.0
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    return 0.5 * weight_at(self.weight, seen) * squared_slope(seen.apply_d, seen.real), aux


@dataclasses.dataclass(frozen=True)
class R2:
  """weight / 2 * |grad_x D(x)|^2 at generated images (Mescheder et al. 2018, Eq. 10).

  Attributes:
    weight: the paper's gamma, a number or a schedule of D's updates.
    every: updates of D from one time to the next.
  """

  weight: Scheduled = 10.0
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    slopes = squared_slope(lambda x: seen.apply_d(x, "fake"), seen.fake)
    return 0.5 * weight_at(self.weight, seen) * slopes, aux
