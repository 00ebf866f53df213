"""What is minimised: from distortion and rates, nats an image, to one loss an image."""

from collections.abc import Mapping

from common.algorithm import Array
from common.build import ConfigError
from common.schedules import Constant, Scheduled, build_schedule


class Elbo:
  """distortion + beta * rate: the negative evidence lower bound at beta 1 (Kingma & Welling 2013, Eq. 3).

  Attributes:
    beta: weight of the rate: a number, or a schedule of the network's updates (KL warm-up).
  """

  def __init__(self, beta: Scheduled = 1.0):
    self.beta = build_schedule(beta, "beta")
    if isinstance(self.beta, Constant) and not self.beta.value >= 0:
      raise ConfigError(f"beta={self.beta.value} must be at least 0")

  def __call__(self, distortion: Array, rates: Mapping[str, Array], updates: Array) -> Array:
    """[B], {layer: [B]}, int32 -> [B]."""
    return distortion + self.beta(updates) * sum(rates.values())


OBJECTIVES = {"elbo": Elbo}
