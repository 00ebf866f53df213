"""The gradient penalty of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from common import random
from common.algorithm import Array, Images
from common.build import ConfigError


@dataclasses.dataclass(frozen=True)
class GradientPenalty:
  """weight * (|grad_x D(x)| - target)^2 at points between real and fake images (Gulrajani et al. 2017, Eq. 3).

  The norm is over all pixels and channels of an image, and is drawn to the target from both sides. Each pair has its
  own point on the line between its two images.

  Attributes:
    weight: the paper's lambda.
    target: the norm that is aimed at, 1 for a 1-Lipschitz critic.
  """

  weight: float = 10.0
  target: float = 1.0

  def __post_init__(self):
    if not self.weight > 0:
      raise ConfigError(f"weight={self.weight} must be above 0; leave the penalty out for none")
    if self.target < 0:
      raise ConfigError(f"target={self.target} must be 0 or more: it is a norm")

  def __call__(self, apply_d: Callable[[Images], Array], real: Images, fake: Images, rows: Array) -> Array:
    """[B, H, W, C] twice, keys [B] -> [B]."""
    mix = random.uniform(rows, (1,) * (real.ndim - 1))
    between = mix * real + (1.0 - mix) * fake
    # No logit depends on another example, so the gradient of the sum has each example's own.
    gradients = jax.grad(lambda x: jnp.sum(apply_d(x)))(between)
    squares = jnp.sum(gradients**2, axis=tuple(range(1, gradients.ndim)))
    # The root has no derivative at 0, where a critic of dead rectifiers is; twice where, so that no nan comes through.
    alive = squares > 0
    norms = jnp.where(alive, jnp.sqrt(jnp.where(alive, squares, 1.0)), 0.0)
    return self.weight * (norms - self.target) ** 2
