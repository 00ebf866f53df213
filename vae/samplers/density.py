"""The contract of densities of latents."""

import flax.linen as nn

from common.types import Array, Given


class Density(nn.Module):
  """p(z) or p(z | given) of vectors of latents.

  A class states in ``needs`` what it needs of the latents: {"real"} or {"codes"}.
  """

  @property
  def rows(self) -> tuple[str, ...]:
    """The rows of a batch that z depends on."""
    return ()

  @property
  def exact(self) -> bool:
    """Whether `log_prob` has no error and needs no keys; else it is a lower bound by one draw for each key."""
    return True

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """Returns log p(z | given) in nats, [B, Z] -> [B], for the rows `rows` and keys [B]; ``train`` allows dropout."""
    raise NotImplementedError

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Draws z, keys [B] -> [B, Z]; row i depends on its key and on what it is given only."""
    raise NotImplementedError
