"""Self-attention over the positions of an image."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from common.errors import ConfigError
from common.layers.conv import Conv
from common.layers.spectral import SpectralNorm
from common.types import Array

Initializer = Callable[..., Array]


class SelfAttention(nn.Module):
  """x + gamma * W_o softmax(q^T k) v, [B, H, W, C] -> [B, H, W, C] (Zhang et al. 2019, arXiv:1805.08318, Eq. 1 to 4).

  q and k have C / 8 channels, v has C / 2; all are 1x1 convolutions without biases. As in the authors' code, k and v
  are max-pooled by 2x2, so that each position attends to a quarter of the positions. gamma starts at 0: at first the
  layer is the identity, and only gamma has a nonzero gradient.

  Attributes:
    spectral_norm: divides each convolution's weights by their largest singular value.
    kernel_init: initializer of the 1x1 kernels.
    dtype: dtype of the computation; scores and their softmax are float32.
  """

  spectral_norm: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Array) -> Array:
    batch, height, width, channels = x.shape
    if channels % 8 or height % 2 or width % 2:
      raise ConfigError(
        f"attention needs even sizes and a multiple of 8 channels, not {height}x{width} of {channels}; "
        "take --.width=8 or another multiple of 8, or --.attention_size=0 for no attention"
      )

    def project(h: Array, features: int) -> Array:
      layer = Conv(features, 1, use_bias=False, kernel_init=self.kernel_init, dtype=self.dtype)
      return (SpectralNorm(layer) if self.spectral_norm else layer)(h)

    def pooled(h: Array) -> Array:
      return jnp.max(h.reshape(batch, height // 2, 2, width // 2, 2, -1), axis=(2, 4))

    def places(h: Array) -> Array:
      return h.reshape(batch, -1, h.shape[-1])

    query, key = places(project(x, channels // 8)), places(pooled(project(x, channels // 8)))
    value = places(pooled(project(x, channels // 2)))
    scores = jnp.einsum("bqc,bkc->bqk", query, key).astype(jnp.float32)
    seen = jnp.einsum("bqk,bkc->bqc", nn.softmax(scores).astype(value.dtype), value)
    gamma = self.param("gamma", nn.initializers.zeros_init(), (), jnp.float32)
    return x + gamma.astype(x.dtype) * project(seen.reshape(batch, height, width, -1), channels)
