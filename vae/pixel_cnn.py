"""An autoregressive model of maps of codes: the gated PixelCNN of van den Oord et al. 2016 (arXiv:1606.05328)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common import random
from common.errors import ConfigError
from common.layers.conv import Conv
from common.types import Array


class PixelCNN(nn.Module):
  """p(codes) = prod_i p(code_i | codes before i in raster order).

  Two stacks leave no blind spot (Section 2.2): the vertical one sees the rows above; the horizontal one sees the codes
  to the left in the same row, and the vertical stack at the same layer. Where the paper masks kernels, the embedded
  codes are shifted by one row and by one column here, and all convolutions reach up and left only. A layer of kernel k
  sees (k - 1) / 2 more rows up, columns left, and in the rows above columns right; a model conditions on all codes
  before if its ``layers`` reach over the map.

  Attributes:
    num_codes: K.
    height: height of the map.
    width: width of the map.
    channels: channels of either stack.
    layers: number of gated layers.
    kernel_size: k, odd.
  """

  num_codes: int
  height: int
  width: int
  channels: int = 64
  layers: int = 10
  kernel_size: int = 3

  def __post_init__(self):
    for name, low in (("num_codes", 2), ("height", 1), ("width", 1), ("channels", 1), ("layers", 1)):
      if getattr(self, name) < low:
        raise ConfigError(f"{name}={getattr(self, name)} must be {low} or more")
    if self.kernel_size < 3 or self.kernel_size % 2 == 0:
      raise ConfigError(f"kernel_size={self.kernel_size} must be odd and 3 or more")
    super().__post_init__()

  @nn.compact
  def logits(self, codes: Array) -> Array:
    """Returns the logits of each code given those before it, int32 [B, H, W] -> float32 [B, H, W, num_codes]."""
    x = nn.Embed(self.num_codes, self.channels)(codes)
    vertical = jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    horizontal = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    reach = self.kernel_size // 2
    for layer in range(self.layers):  # Figure 2 of the paper
      above = self._conv(2 * self.channels, (reach + 1, self.kernel_size))(vertical)
      left = self._conv(2 * self.channels, (1, reach + 1))(horizontal) + self._conv(2 * self.channels, (1, 1))(above)
      horizontal += self._conv(self.channels, (1, 1))(_gate(left))
      if layer + 1 < self.layers:
        vertical = _gate(above)
    x = nn.relu(self._conv(self.channels, (1, 1))(nn.relu(horizontal)))
    return self._conv(self.num_codes, (1, 1))(x)

  def _conv(self, features: int, kernel_size: tuple[int, int]) -> Conv:
    """Returns a convolution that reaches up and left, and also right in the rows above."""
    rows, columns = kernel_size
    side = columns // 2
    padding = ((rows - 1, 0), (side, side) if rows > 1 else (columns - 1, 0))
    return Conv(features, kernel_size, padding=padding)

  def log_prob(self, codes: Array) -> Array:
    """Returns log p(codes) in nats, int32 [B, H, W] -> [B]."""
    log_p = jax.nn.log_softmax(self.logits(codes))
    return jnp.sum(jnp.take_along_axis(log_p, codes[..., None], axis=-1), axis=(1, 2, 3))

  def sample(self, keys: Array) -> Array:
    """Draws one code after the other, keys [B] -> int32 [B, H, W]; row i depends on key i only.

    The network runs over the whole map for each of its positions.
    """
    variables, network = self.variables, self.clone(parent=None)

    def draw(place: Array, codes: Array) -> Array:
      i, j = place // self.width, place % self.width
      logits = network.apply(variables, codes, method="logits")[:, i, j]
      here = jax.vmap(lambda key: jax.random.fold_in(key, place))(keys)
      return codes.at[:, i, j].set(random.categorical(here, logits))

    codes = jnp.zeros((len(keys), self.height, self.width), jnp.int32)
    return lax.fori_loop(0, self.height * self.width, draw, codes)


def _gate(x: Array) -> Array:
  """tanh(a) sigmoid(b), [..., 2 C] -> [..., C] (Eq. 2)."""
  a, b = jnp.split(x, 2, axis=-1)
  return jnp.tanh(a) * nn.sigmoid(b)
