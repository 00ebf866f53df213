"""The evidence lower bound, and the ways to weigh its rate."""

import jax.numpy as jnp

from common.errors import ConfigError
from common.schedules import Constant, Scheduled, build_schedule
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, OneDraw, distortion, rate


class Elbo(OneDraw):
  """distortion + beta * rate: the negative evidence lower bound at beta 1 (Kingma & Welling 2013, Eq. 3).

  Other betas: Higgins et al. 2017 (beta-VAE, Eq. 4); Bowman et al. 2016 (a warm-up).

  Attributes:
    beta: weight of the rate: a number, or a schedule of the network's updates.
  """

  needs = frozenset({"density"})

  def __init__(self, beta: Scheduled = 1.0):
    self.beta = build_schedule(beta, "beta")
    if isinstance(self.beta, Constant) and not self.beta.value >= 0:
      raise ConfigError(f"beta={self.beta.value} must be at least 0")

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.beta(context.updates) * rate(terms)


class Capacity(OneDraw):
  """distortion + gamma * |rate - C| (Burgess et al. 2018, arXiv:1804.03599, Eq. 8).

  The distance is taken for each image's rate, as in the equation; codes that take it for the mean over the batch let
  images differ in their rates.

  Attributes:
    capacity: C in nats an image: a number, or a schedule of the network's updates.
    gamma: weight of the rate's distance to C.
  """

  def __init__(self, capacity: Scheduled, gamma: float = 1000.0):
    self.capacity = build_schedule(capacity, "capacity")
    if isinstance(self.capacity, Constant) and not self.capacity.value >= 0:
      raise ConfigError(f"capacity={self.capacity.value} must be at least 0, as rates are")
    if not gamma >= 0:
      raise ConfigError(f"gamma={gamma} must be at least 0; below, the rate would be driven away from the capacity")
    self.gamma = gamma

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.gamma * jnp.abs(rate(terms) - self.capacity(context.updates))
