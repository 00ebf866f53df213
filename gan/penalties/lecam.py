"""LeCam regularisation (Tseng et al. 2021, arXiv:2104.03310), for little data."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from common.errors import ConfigError
from common.parallel import batch_mean
from common.schedules import Scheduled
from common.types import Array
from gan.penalties.seen import Seen
from gan.penalties.weights import check_weight, weight_at


@dataclasses.dataclass(frozen=True)
class LeCam:
  """weight * ((D(x) - a_F)^2 + (D(G(z)) - a_R)^2) (Eq. 4 and 5).

  a_R and a_F are running means of D on real and on generated images. The authors' code counts only what lies beyond.

  Attributes:
    weight: the paper's lambda.
    decay: of the running means, which start at 0.
    start: updates of D before it counts; the means run from the first on.
    every: updates of D from one time to the next.
  """

  weight: Scheduled = 0.3
  decay: float = 0.99
  start: int = 1000
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)
    if not 0.0 <= self.decay < 1.0:
      raise ConfigError(f"decay={self.decay} must be at least 0 and below 1")

  def init(self) -> Any:
    return {"real": jnp.zeros(()), "fake": jnp.zeros(())}

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    means = {"real": jnp.mean(seen.real_logits), "fake": jnp.mean(seen.fake_logits)}
    means = jax.lax.stop_gradient(batch_mean(means, seen.axis_name))
    aux = jax.tree.map(lambda old, new: self.decay * old + (1.0 - self.decay) * new, aux, means)
    values = (seen.real_logits - aux["fake"]) ** 2 + (seen.fake_logits - aux["real"]) ** 2
    return jnp.where(seen.updates >= self.start, weight_at(self.weight, seen), 0.0) * values, aux
