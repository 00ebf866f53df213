"""Batch normalization."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from common.parallel import batch_mean
from common.types import Array

Initializer = Callable[..., Array]


class BatchNorm(nn.Module):
  """y = scale * (x - mean) / sqrt(var + epsilon) + bias, [B, ..., C] -> [B, ..., C] (Ioffe & Szegedy 2015).

  Mean and variance are taken over all axes but the last, and over all devices of ``axis_name``. The collection
  "batch_stats" holds the running "mean" and "var" [C] that evaluation uses. The running variance is the biased one
  (TensorFlow, Flax); PyTorch's is n / (n - 1) times as large, for n values per channel. Statistics are always float32.
  In training, a mutable collection "moments" receives the batch's own mean and var in the same tree.

  Conditional BatchNorm (Dumoulin et al. 2017; de Vries et al. 2017) is given values [B, K], the label as one-hot ones:
  scale and bias are then products of these with tables [K, C], while all examples share the statistics. The table of
  scales starts at ``scale_init`` (1) in each row, so that at the start a label has no effect.

  Attributes:
    momentum: decay of the running statistics, as in TensorFlow: running = momentum * running + (1 - momentum) * batch.
      PyTorch's momentum is 1 - momentum.
    epsilon: added to the variance.
    use_scale: learns a factor [C].
    use_bias: learns a shift [C].
    scale_init: initializer of the scale.
    bias_init: initializer of the bias.
    axis_name: mapped axis (of shard_map or pmap) over which statistics are synchronised; None: this device's batch.
    dtype: dtype of the output; None takes the input's.
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
  def __call__(self, x: Array, *, train: bool, given: Array | None = None) -> Array:
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
      # The mean comes first: E[x^2] - E[x]^2 cancels if the mean is large, and squared deviations from the mean of one
      # device do not add up to those from the mean of all.
      axes = tuple(range(x.ndim - 1))
      axis_name = None if self.is_initializing() else self.axis_name  # init runs outside the mapped step
      mean = batch_mean(jnp.mean(x, axes), axis_name)
      centered = x - mean
      var = batch_mean(jnp.mean(jnp.square(centered), axes), axis_name)
      if not self.is_initializing():  # this batch's own statistics, kept if "moments" is mutable
        for name, value in (("mean", mean), ("var", var)):
          self.sow("moments", name, value, reduce_fn=lambda _, new: new, init_fn=lambda: ())
      if self.is_mutable_collection("batch_stats") and not self.is_initializing():
        running_mean.value = self.momentum * running_mean.value + (1.0 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1.0 - self.momentum) * var
    else:
      centered = x - running_mean.value
      var = running_var.value

    factor = lax.rsqrt(var + self.epsilon)
    if self.use_scale:
      factor *= self._affine("scale", self.scale_init, x, given)
    y = centered * factor
    if self.use_bias:
      y += self._affine("bias", self.bias_init, x, given)
    return y.astype(dtype)

  def _affine(self, name: str, init: Initializer, x: Array, given: Array | None) -> Array:
    """Returns a parameter [C], or what ``given`` makes of a table, [B, 1, ..., C]."""
    if given is None:
      return self.param(name, init, x.shape[-1:], jnp.float32)
    table = self.param(name, init, (given.shape[-1], x.shape[-1]), jnp.float32)
    # In full precision a one-hot row picks its label's numbers exactly, on every device.
    chosen = jnp.matmul(given, table, precision=lax.Precision.HIGHEST)
    return chosen.reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])


class BatchNormed(nn.Module):
  """A network with `BatchNorm` layers, which all have the same settings.

  Attributes:
    bn_momentum: decay of BatchNorm's running statistics, running = momentum * running + (1 - momentum) * batch.
    bn_epsilon: number added to BatchNorm's variance.
    bn_axis_name: device axis over which BatchNorm is synchronised; None: it is not.
  """

  _: dataclasses.KW_ONLY
  bn_momentum: float = 0.9
  bn_epsilon: float = 1e-5
  bn_axis_name: str | None = None

  def norm(self, x: Array, *, train: bool, given: Array | None = None, **options: Any) -> Array:
    """Applies a new `BatchNorm` layer; ``options`` are further attributes of it."""
    layer = BatchNorm(momentum=self.bn_momentum, epsilon=self.bn_epsilon, axis_name=self.bn_axis_name, **options)
    return layer(x, train=train, given=given)
