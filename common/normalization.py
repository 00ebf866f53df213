"""Normalization over the batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from common.parallel import batch_mean

Array = jax.Array
Initializer = Callable[..., Array]


class BatchNorm(nn.Module):
  """y = scale * (x - mean) / sqrt(var + epsilon) + bias, [B, ..., C] -> [B, ..., C] (Ioffe & Szegedy 2015).

  Mean and variance are over all axes but the last, and over all devices of ``axis_name``. The collection "batch_stats"
  holds the running "mean" and "var" [C] that evaluation uses. The running variance is the biased one (TensorFlow,
  Flax); PyTorch's is n / (n - 1) times as large, for n values a channel. Statistics are float32 whatever the input is.

  Attributes:
    momentum: of the running statistics, as in TensorFlow: running = momentum * running + (1 - momentum) * batch.
      PyTorch's momentum is 1 - momentum.
    epsilon: added to the variance.
    use_scale: learns a factor [C].
    use_bias: learns a shift [C].
    scale_init: initializer of the scale.
    bias_init: initializer of the bias.
    axis_name: mapped axis (of shard_map or pmap) to synchronise the statistics over; None: this device's batch.
    dtype: of the output; None takes the input's.
  """

  momentum: float = 0.99
  epsilon: float = 1e-3
  use_scale: bool = True
  use_bias: bool = True
  scale_init: Initializer = nn.initializers.ones_init()
  bias_init: Initializer = nn.initializers.zeros_init()
  axis_name: str | None = None
  dtype: Any = None

  @nn.compact
  def __call__(self, x: Array, *, train: bool) -> Array:
    """Normalizes by the batch's statistics if ``train``, else by the running ones.

    In training the running statistics move if "batch_stats" is mutable; a caller freezes them by leaving it immutable.
    ``init`` only creates them.
    """
    dtype = x.dtype if self.dtype is None else self.dtype
    features = x.shape[-1]
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
    running_var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)

    x = x.astype(jnp.float32)
    if train:
      # The mean comes first: E[x^2] - E[x]^2 loses all digits where the mean is large, and squared deviations from the
      # mean of one device would not add up to those from the mean of all.
      axes = tuple(range(x.ndim - 1))
      axis_name = None if self.is_initializing() else self.axis_name  # init runs outside of the mapped step
      mean = batch_mean(jnp.mean(x, axes), axis_name)
      centered = x - mean
      var = batch_mean(jnp.mean(jnp.square(centered), axes), axis_name)
      if self.is_mutable_collection("batch_stats") and not self.is_initializing():
        running_mean.value = self.momentum * running_mean.value + (1.0 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1.0 - self.momentum) * var
    else:
      centered = x - running_mean.value
      var = running_var.value

    factor = lax.rsqrt(var + self.epsilon)
    if self.use_scale:
      factor *= self.param("scale", self.scale_init, (features,), jnp.float32)
    y = centered * factor
    if self.use_bias:
      y += self.param("bias", self.bias_init, (features,), jnp.float32)
    return y.astype(dtype)
