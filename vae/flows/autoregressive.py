"""One step of inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934)."""

import flax.linen as nn
import jax.numpy as jnp

from common.types import Array
from vae.flows.made import MADE

GATE_BIAS = 2.0  # the paper's "+1 or +2": sigma starts at 0.88, a forget gate that keeps z


class AutoregressiveStep(nn.Module):
  """z' = sigma * z + (1 - sigma) * m with sigma = sigmoid(s), m and s of a MADE (Algorithm 1).

  Starts as z' = sigmoid(GATE_BIAS) * z, whatever the context. Its inverse would take one pass a coordinate, and is not
  needed where z is drawn.

  Attributes:
    order: the place of each coordinate, as MADE has it.
    width: units of a hidden layer.
    layers: number of hidden layers.
  """

  order: tuple[int, ...]
  width: int = 64
  layers: int = 1

  @nn.compact
  def __call__(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
    """[..., Z] and a context [..., C] -> z' [..., Z] and log|det dz'/dz| [...]."""
    made = MADE(self.order, 2, self.width, self.layers, final_init=nn.initializers.zeros_init())
    out = made(z, context)
    mean, s = out[..., 0, :], out[..., 1, :] + GATE_BIAS
    gate = nn.sigmoid(s)
    # 1 - gate as a sigmoid keeps its digits where the gate is next to 1.
    return gate * z + nn.sigmoid(-s) * mean, jnp.sum(nn.log_sigmoid(s), axis=-1)
