"""The evidence lower bound, and ways to weigh its rate."""

import jax.numpy as jnp

from common.schedules import Scheduled, build_schedule
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, Objective, check_not_negative, distortion, rate


class Elbo(Objective):
  """distortion + beta * rate: the negative evidence lower bound at beta 1 (Kingma & Welling 2013, Eq. 3).

  Other betas: Higgins et al. 2017 (beta-VAE, Eq. 4); Bowman et al. 2016 (a warm-up).

  Attributes:
    beta: weight of the rate: a number, or a schedule of the network's updates.
  """

  needs = frozenset({"density"})

  def __init__(self, beta: Scheduled = 1.0):
    self.beta = build_schedule(beta, "beta")
    check_not_negative(beta=self.beta)

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.beta(context.updates) * rate(terms)


class Capacity(Objective):
  """distortion + gamma * |rate - C| (Burgess et al. 2018, arXiv:1804.03599, Eq. 8).

  The distance is that of each image's rate, as in the equation; codes that take it for the mean over the batch let
  images differ in their rates.

  Attributes:
    capacity: C in nats an image: a number, or a schedule of the network's updates.
    gamma: weight of the rate's distance to C.
  """

  def __init__(self, capacity: Scheduled, gamma: float = 1000.0):
    self.capacity, self.gamma = build_schedule(capacity, "capacity"), gamma
    check_not_negative(capacity=self.capacity, gamma=gamma)

  def __call__(self, terms: Terms, context: Context) -> Array:
    return distortion(terms) + self.gamma * jnp.abs(rate(terms) - self.capacity(context.updates))
