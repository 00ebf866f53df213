"""The distribution of a VQ-VAE's codes (van den Oord et al. 2017, arXiv:1711.00937, Section 3.3), by a PixelCNN."""

import flax.linen as nn
import jax.numpy as jnp

from common.types import Array
from vae.pixel_cnn import PixelCNN


class CodeMaps(nn.Module):
  """A gated PixelCNN of maps of codes (vae/pixel_cnn.py), which are flat floats here.

  Attributes:
    image_shape: (height, width, 1) of the map.
    num_codes: number of entries of the codebook.
    channels: channels of each of the two stacks.
    layers: number of gated layers.
  """

  image_shape: tuple[int, int, int]
  num_codes: int
  channels: int = 64
  layers: int = 10
  needs = frozenset({"codes"})

  def setup(self) -> None:
    height, width, _ = self.image_shape
    self.model = PixelCNN(self.num_codes, height, width, self.channels, self.layers)

  def log_prob(self, z: Array) -> Array:
    """log p of the codes' numbers in nats, [..., height * width] -> [...]."""
    codes = z.astype(jnp.int32).reshape(-1, *self.image_shape[:2])
    return self.model.log_prob(codes).reshape(z.shape[:-1])

  def sample(self, keys: Array) -> Array:
    """Keys [B] -> [B, height * width]; row i depends on key i only."""
    return self.model.sample(keys).reshape(len(keys), -1).astype(jnp.float32)
