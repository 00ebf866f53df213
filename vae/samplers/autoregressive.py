"""The distribution of a VQ-VAE's codes (van den Oord et al. 2017, arXiv:1711.00937, Section 3.3), by a PixelCNN."""

import flax.linen as nn
import jax.numpy as jnp

from common.types import Array
from vae.pixel_cnn import PixelCNN


class CodeMaps(nn.Module):
  """log p of the numbers of codes, [..., P] as floats, P = height * width."""

  model: PixelCNN

  def log_prob(self, z: Array) -> Array:
    """In nats, [..., P] -> [...]."""
    codes = z.astype(jnp.int32).reshape(-1, self.model.height, self.model.width)
    return self.model.log_prob(codes).reshape(z.shape[:-1])

  def sample(self, rows: Array) -> Array:
    """keys [B] -> [B, P]; row i depends on key i only."""
    return self.model.sample(rows).reshape(len(rows), -1).astype(jnp.float32)


def autoregressive(
  num_codes: int, height: int, width: int, channels: int = 64, layers: int = 10, kernel_size: int = 3
) -> CodeMaps:
  """A gated PixelCNN of maps of codes (vae/pixel_cnn.py).

  Args:
    num_codes: entries of the codebook.
    height: of the map.
    width: of the map.
    channels: of either stack.
    layers: gated layers.
    kernel_size: odd.
  """
  return CodeMaps(PixelCNN(num_codes, height, width, channels, layers, kernel_size))
