"""The bound of many draws, and three estimates of its gradient."""

import jax
import jax.numpy as jnp

from common.build import choose
from common.errors import ConfigError
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context

GRADIENTS = {"standard": "sampled", "path": "path", "doubly": "doubly"}


def importance_bound(terms: Terms) -> Array:
  """L_k = log 1/k sum_i p(x, z_i) / q(z_i|x), [k, B] -> [B] (Burda et al. 2016, arXiv:1509.00519, Eq. 8)."""
  log_weights = -(terms.distortion + terms.rate)
  return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(len(log_weights))


class ImportanceWeighted:
  """-L_k, an upper bound of -log p(x) that falls with k (Burda et al. 2016, Theorem 1).

  Attributes:
    draws: k.
    gradient: "standard": of the bound as it stands; "path": without q's score ("sticking the landing", Roeder et al.
      2017; unbiased for k = 1 only); "doubly": the score's part reparameterized once more (Tucker et al. 2019, Eq. 8),
      unbiased, with a signal-to-noise ratio that does not fall with k.
  """

  def __init__(self, draws: int = 5, gradient: str = "standard"):
    if draws < 1:
      raise ConfigError(f"draws={draws} must be 1 or more")
    self.draws = draws
    self.rate = choose(GRADIENTS, gradient, "gradient")

  def __call__(self, terms: Terms, context: Context) -> Array:
    return -importance_bound(terms)
