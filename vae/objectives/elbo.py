"""The evidence lower bound, and the ways to weigh its rate."""

import jax.numpy as jnp

from common.errors import ConfigError
from common.parallel import batch_mean
from common.schedules import Constant, Scheduled, build_schedule
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, distortion, rate


class Elbo:
  """distortion + beta * rate: the negative evidence lower bound at beta 1 (Kingma & Welling 2013, Eq. 3).

  Other betas: Higgins et al. 2017 (beta-VAE, Eq. 4); Bowman et al. 2016 (a warm-up).

  Attributes:
    beta: weight of the rate: a number, or a schedule of the network's updates.
    draws: of z for each image, whose mean is taken.
  """

  rate = "closed"

  def __init__(self, beta: Scheduled = 1.0, draws: int = 1):
    self.beta = build_schedule(beta, "beta")
    if isinstance(self.beta, Constant) and not self.beta.value >= 0:
      raise ConfigError(f"beta={self.beta.value} must be at least 0")
    self.draws = _at_least_one(draws)

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.beta(context.updates) * rate(terms)


class Capacity:
  """distortion + gamma * |rate - C| (Burgess et al. 2018, arXiv:1804.03599, Eq. 8).

  The distance is that of each image's rate, as the equation has it; codes that take it of the mean over the batch let
  images differ in their rates.

  Attributes:
    capacity: C in nats an image: a number, or a schedule of the network's updates.
    gamma: weight of the rate's distance to it.
  """

  rate, draws = "closed", 1

  def __init__(self, capacity: Scheduled, gamma: float = 1000.0):
    self.capacity = build_schedule(capacity, "capacity")
    if isinstance(self.capacity, Constant) and not self.capacity.value >= 0:
      raise ConfigError(f"capacity={self.capacity.value} must be at least 0, as rates are")
    if not gamma >= 0:
      raise ConfigError(f"gamma={gamma} must be at least 0; below, the rate would be driven away from the capacity")
    self.gamma = gamma

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.gamma * jnp.abs(rate(terms) - self.capacity(context.updates))


class FreeBits:
  """distortion + sum_j max(nats, mean over the batch of KL_j), j a unit of z (Kingma et al. 2016, Eq. 15).

  Needs Gaussian posteriors and the standard normal prior, whose rate is a sum over units.

  Attributes:
    nats: what the rate of a unit may be at no cost.
  """

  rate, draws = "closed", 1

  def __init__(self, nats: float):
    if not nats >= 0:
      raise ConfigError(f"nats={nats} must be at least 0")
    self.nats = nats

  def __call__(self, terms: Terms, context: Context) -> Array:
    total = distortion(terms)
    for mean, log_var in terms.moments.values():
      unit_rates = jnp.mean(0.5 * (mean**2 + jnp.exp(log_var) - 1.0 - log_var), axis=(0, 1))
      total += jnp.sum(jnp.maximum(self.nats, batch_mean(unit_rates, context.axis_name)))
    return total


def _at_least_one(draws: int) -> int:
  if draws < 1:
    raise ConfigError(f"draws={draws} must be 1 or more")
  return draws
