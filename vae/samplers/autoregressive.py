"""The distribution of a VQ-VAE's codes by a PixelCNN (van den Oord et al. 2017, arXiv:1711.00937, Section 3.3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.layers.conv import Conv
from common.types import Array, Given
from vae.samplers.density import Density


class PixelCNN(Density):
  """p(codes) = prod_i p(code_i | codes before i in raster order) (van den Oord et al. 2016, arXiv:1606.05328).

  Two stacks leave no blind spot (Section 2.2): the vertical one sees the rows above; the horizontal one sees the codes
  to the left in the same row, and the vertical stack at the same layer. Where the paper masks kernels, the embedded
  codes are shifted by one row and by one column here, and all convolutions reach up and left only. A layer sees one
  more row up, one column left, and in the rows above one column right; a model conditions on all codes before if its
  ``layers`` reach over the map. Codes are flat floats outside, as latents are.

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

  def __post_init__(self):
    for name, least in (("num_codes", 2), ("channels", 1), ("layers", 1)):
      if getattr(self, name) < least:
        raise ConfigError(f"{name}={getattr(self, name)} must be {least} or more")
    super().__post_init__()

  @nn.compact
  def logits(self, codes: Array) -> Array:
    """Returns the logits of each code given those before it, int32 [B, H, W] -> float32 [B, H, W, num_codes]."""
    x = nn.Embed(self.num_codes, self.channels)(codes)
    vertical = jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    horizontal = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    for layer in range(self.layers):  # Figure 2 of the paper
      above = Conv(2 * self.channels, (2, 3), padding=((1, 0), (1, 1)))(vertical)
      left = Conv(2 * self.channels, (1, 2), padding=((0, 0), (1, 0)))(horizontal)
      left += Conv(2 * self.channels, (1, 1))(above)
      horizontal += Conv(self.channels, (1, 1))(_gate(left))
      if layer + 1 < self.layers:
        vertical = _gate(above)
    x = nn.relu(Conv(self.channels, (1, 1))(nn.relu(horizontal)))
    return Conv(self.num_codes, (1, 1))(x)

  def log_prob(self, z: Array, given: Given = None, keys: Array | None = None, *, train: bool = False) -> Array:
    """Returns log p of the codes' numbers in nats, [..., H * W] -> [...]."""
    codes = z.astype(jnp.int32).reshape(-1, *self.image_shape[:2])
    log_p = jax.nn.log_softmax(self.logits(codes))
    log_p = jnp.sum(jnp.take_along_axis(log_p, codes[..., None], axis=-1), axis=(1, 2, 3))
    return log_p.reshape(z.shape[:-1])

  def sample(self, keys: Array, given: Given = None) -> Array:
    """Draws one code after the other, keys [B] -> [B, H * W]; row i depends on key i only.

    The network runs over the whole map for each of its positions.
    """
    variables, network, (height, width, _) = self.variables, self.clone(parent=None), self.image_shape

    def draw(place: Array, codes: Array) -> Array:
      i, j = place // width, place % width
      logits = network.apply(variables, codes, method="logits")[:, i, j]
      here = jax.vmap(lambda key: jax.random.fold_in(key, place))(keys)
      return codes.at[:, i, j].set(random.categorical(here, logits))

    codes = lax.fori_loop(0, height * width, draw, jnp.zeros((len(keys), height, width), jnp.int32))
    return codes.reshape(len(keys), -1).astype(jnp.float32)


def _gate(x: Array) -> Array:
  """tanh(a) sigmoid(b), [..., 2 C] -> [..., C] (Eq. 2)."""
  a, b = jnp.split(x, 2, axis=-1)
  return jnp.tanh(a) * nn.sigmoid(b)
