"""Penalties on the gradient of D at images, by name: those of WGAN-GP and DRAGAN, and R1 and R2."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.parallel import batch_mean
from common.schedules import Scheduled, build_schedule
from common.types import Array, Images


class Seen(NamedTuple):
  """The arguments of a penalty in one update of D.

  Attributes:
    apply_d: D in training mode, images [B, H, W, C] -> logits [B], or [B, h, w] of patches, whose slopes add up; a
      second argument, "real" by default or "fake", names the half whose augmentation the images go through first, and
      ``shift`` [B, width] is added to the sentence vectors of captions. BatchNorm statistics and spectral vectors stay
      as they are. It can be differentiated by vjp only: common/layers/conv.py has no forward mode.
    real: images [B, H, W, C].
    fake: images [B, H, W, C], constants.
    keys: keys [B] of this penalty.
    axis_name: the device axis for statistics over the batch, None for the global view.
    width: size of the sentence vectors; 0 without captions.
  """

  apply_d: Callable[..., Array]
  real: Images
  fake: Images
  keys: Array
  axis_name: str | None
  width: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalty:
  """A term that is added to D's loss for each pair of a real and a fake image.

  Attributes:
    weight: factor of the penalty (the lambda or gamma of its paper), a number or a schedule of D's updates.
    every: number of updates of D from one computation of the penalty to the next; the penalty then counts that many
      times (Karras et al. 2020, App. B; unlike there, it is a term of that update's loss, and the optimizer is not
      rescaled).
  """

  weight: Scheduled = 10.0
  every: int = 1

  def __post_init__(self):
    build_schedule(self.weight, "weight")
    if isinstance(self.weight, int | float) and not self.weight > 0:
      raise ConfigError(f"weight={self.weight} must be above 0; leave the penalty out for none")
    if self.every < 1:
      raise ConfigError(f"every={self.every} must be 1 or more; take --.every=1 for every update of the discriminator")

  def __call__(self, seen: Seen) -> Array:
    """Returns the penalty without its weight, [B]."""
    raise NotImplementedError

  def weighted(self, seen: Seen, updates: Array) -> Array:
    """Returns the weighted penalty after ``updates`` updates of D, [B]; 0 where ``every`` leaves it out."""

    def now() -> Array:
      return self.every * build_schedule(self.weight, "weight")(updates) * self(seen)

    if self.every == 1:
      return now()
    return lax.cond(updates % self.every == 0, now, lambda: jnp.zeros(len(seen.real)))


def squared_slope(apply_d: Callable[[Images], Array], x: Images) -> Array:
  """Returns |grad_x D(x)|^2 over all pixels and channels of each image, [B, H, W, C] -> [B]."""
  # No logit depends on another example, so the gradient of the sum holds the gradients of all examples.
  gradients = jax.grad(lambda x: jnp.sum(apply_d(x)))(x)
  return jnp.sum(gradients**2, axis=tuple(range(1, gradients.ndim)))


def _distance_from(target: float, squares: Array) -> Array:
  """Returns (sqrt(squares) - target)^2."""
  # The root has no derivative at 0, the slope of a critic of dead rectifiers; two wheres let no nan through.
  alive = squares > 0
  norms = jnp.where(alive, jnp.sqrt(jnp.where(alive, squares, 1.0)), 0.0)
  return (norms - target) ** 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientPenalty(Penalty):
  """(|grad_x D(x)| - target)^2 at points between real and fake images (Gulrajani et al. 2017, Eq. 3).

  Each pair has a point of its own on the line between its two images.

  Attributes:
    target: the norm that D is drawn to from both sides, 1 for a 1-Lipschitz critic.
  """

  target: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.target < 0:
      raise ConfigError(f"target={self.target} must be 0 or more: it is a norm")

  def __call__(self, seen: Seen) -> Array:
    mix = random.uniform(seen.keys, (1,) * (seen.real.ndim - 1))
    between = mix * seen.real + (1.0 - mix) * seen.fake
    return _distance_from(self.target, squared_slope(seen.apply_d, between))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dragan(Penalty):
  """(|grad_x D(x)| - target)^2 near real images (Kodali et al. 2017, Eq. 3).

  A point lies at a random share of the way from an image to the image plus noise from U[0, spread * s) in each pixel,
  where s is the standard deviation of all pixels of the batch, as in the authors' code and in Lucic et al. 2018; the
  paper's text has normal noise.

  Attributes:
    target: the norm that D is drawn to, the paper's k.
    spread: range of the noise in standard deviations, the paper's c.
    sigmoid: whether D(x) is the sigmoid of the logit, as in Lucic et al. 2018, and not the logit itself.
  """

  target: float = 1.0
  spread: float = 0.5
  sigmoid: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.target < 0 or not self.spread > 0:
      raise ConfigError(f"target={self.target} must be 0 or more, and spread={self.spread} above 0")

  def __call__(self, seen: Seen) -> Array:
    mean, square = batch_mean((jnp.mean(seen.real), jnp.mean(seen.real**2)), seen.axis_name)
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 0.0))
    noise_keys, mix_keys = (random.row_stream(seen.keys, name) for name in ("noise", "mix"))
    noise = random.uniform(noise_keys, seen.real.shape[1:], 0.0, self.spread) * deviation
    near = seen.real + random.uniform(mix_keys, (1,) * (seen.real.ndim - 1)) * noise

    def apply_d(x: Images) -> Array:
      return jax.nn.sigmoid(seen.apply_d(x)) if self.sigmoid else seen.apply_d(x)

    return _distance_from(self.target, squared_slope(apply_d, near))


@dataclasses.dataclass(frozen=True, kw_only=True)
class R1(Penalty):
  """|grad_x D(x)|^2 / 2 at real images (Mescheder et al. 2018, Eq. 9)."""

  def __call__(self, seen: Seen) -> Array:
    return 0.5 * squared_slope(seen.apply_d, seen.real)


@dataclasses.dataclass(frozen=True, kw_only=True)
class R2(Penalty):
  """|grad_x D(x)|^2 / 2 at generated images (Mescheder et al. 2018, Eq. 10)."""

  def __call__(self, seen: Seen) -> Array:
    return 0.5 * squared_slope(lambda x: seen.apply_d(x, "fake"), seen.fake)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingAware(Penalty):
  """|grad D(x, s)|^power by real images and their sentence vectors together (DF-GAN: Tao et al. 2022, their code).

  Attributes:
    power: exponent of the norm; the authors have 6, and a weight of 2.
  """

  power: float = 6.0

  def __post_init__(self):
    super().__post_init__()
    if self.power < 2:
      raise ConfigError(f"power={self.power} must be 2 or more, below which it has no slope at 0; take --.power=6.0")

  def __call__(self, seen: Seen) -> Array:
    def total(x: Images, shift: Array) -> Array:
      return jnp.sum(seen.apply_d(x, shift=shift))

    slopes = jax.grad(total, argnums=(0, 1))(seen.real, jnp.zeros((len(seen.real), seen.width)))
    squares = sum(jnp.sum(slope**2, axis=tuple(range(1, slope.ndim))) for slope in slopes)
    return squares ** (0.5 * self.power)


PENALTIES: dict[str, Callable[..., Penalty]] = {
  "gradient_penalty": GradientPenalty,
  "dragan": Dragan,
  "r1": R1,
  "r2": R2,
  "matching_aware": MatchingAware,
}
