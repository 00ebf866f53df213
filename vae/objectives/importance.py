"""The bound of many draws, and two estimates of its gradient."""

import jax
import jax.numpy as jnp

from common.build import choose
from common.errors import ConfigError
from common.types import Array
from vae.model import Terms
from vae.objectives.objective import Context, Objective

GRADIENTS = {"standard": False, "doubly": True}


def importance_bound(terms: Terms) -> Array:
  """L_k = log 1/k sum_i p(x, z_i) / q(z_i|x), [k, B] -> [B] (Burda et al. 2016, arXiv:1509.00519, Eq. 8)."""
  return jax.nn.logsumexp(terms.log_weight, axis=0) - jnp.log(len(terms.log_weight))


def importance(terms: Terms) -> Array:
  """Returns the draws' normalized importance, [k, B] -> [k, B], without a gradient."""
  return jax.lax.stop_gradient(jax.nn.softmax(terms.log_weight, axis=0))


class ImportanceWeighted(Objective):
  """-L_k, an upper bound of -log p(x) that falls with k (Burda et al. 2016, Theorem 1).

  Attributes:
    draws: k.
    gradient: "standard": that of the bound as it stands; "doubly": q's score is reparameterized once more (Tucker et
      al. 2019, arXiv:1810.04152, Eq. 8), unbiased, with a signal-to-noise ratio that does not fall with k.
  """

  def __init__(self, draws: int = 5, gradient: str = "standard"):
    if draws < 1:
      raise ConfigError(f"draws={draws} must be 1 or more")
    self.draws = draws
    self.doubly = choose(GRADIENTS, gradient, "gradient")
    self.needs = frozenset({"density", "real"} | ({"gaussian"} if self.doubly else set()))

  def __call__(self, terms: Terms, context: Context) -> Array:
    return -importance_bound(terms)

  def figures(self, terms: Terms) -> dict[str, Array]:
    return {"importance_bound": importance_bound(terms)}
