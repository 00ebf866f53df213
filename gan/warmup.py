"""When the discriminator gets more updates than n_critic before the generator moves."""

import dataclasses

import jax.numpy as jnp

from common.errors import ConfigError
from common.types import Array


@dataclasses.dataclass(frozen=True)
class CriticWarmup:
  """More updates of D before some updates of G, which then skips rounds (the code of Arjovsky et al. 2017).

  Attributes:
    updates: of D before each update of G that this concerns; 0: it concerns none.
    first: the first so many updates of G.
    every: and each so many-th; 0 for no others.

  Raises:
    ConfigError: updates before no update of G.
  """

  updates: int
  first: int
  every: int

  def __post_init__(self):
    if self.updates and not (self.first or self.every):
      raise ConfigError(
        f"config.critic_warmup.updates={self.updates} concerns no update of G; set --config.critic_warmup.first=25, "
        "--config.critic_warmup.every=500, or other such numbers, or --config.critic_warmup.updates=0"
      )

  def needed(self, generator_updates: Array, n_critic: int) -> Array:
    """Updates of D before the next update of G."""
    early = generator_updates < self.first
    again = generator_updates % self.every == 0 if self.every else False
    return jnp.where(early | again, self.updates, n_critic)
