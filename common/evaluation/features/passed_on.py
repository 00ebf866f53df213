"""The outputs of a network's convolutions as features of images."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from common.layers.conv import Conv
from common.types import Array

GRID = 4  # pixels a side after pooling


def passed_on(call: Callable[[], Any]) -> dict[str, Array]:
  """The maps [B, h, w, C] that ``call``, a pass through a network, gives its layers: {"number layer": map}.

  These are the inputs of every convolution but the first and of the first dense layer: after BatchNorm and the
  activation, each once, whatever the network does between two layers. A flattened map gets its shape back; one that was
  summed over its pixels has a single one. In a residual network the inputs of shortcuts are among them, which before
  the second block is the picture, halved.
  """
  found: list[tuple[str, Array]] = []
  shape: tuple[int, ...] = ()  # of the last convolution's output, empty before the first
  ended = False

  def watch(method: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    nonlocal shape, ended
    layer = context.module
    if ended or context.method_name != "__call__" or not isinstance(layer, Conv | nn.Dense):
      return method(*args, **kwargs)
    x = args[0]
    if shape and not any(x is other for _, other in found):
      found.append(("/".join(layer.path) or layer.name or type(layer).__name__, x))
    ended = bool(shape) and isinstance(layer, nn.Dense)
    y = method(*args, **kwargs)
    if isinstance(layer, Conv):
      shape = y.shape
    return y

  with nn.intercept_methods(watch):
    call()
  maps: dict[str, Array] = {}
  for i, (name, x) in enumerate(found):
    if x.ndim == 2:
      flat = math.prod(shape[1:]) == x.shape[1]
      x = x.reshape(len(x), *(shape[1:] if flat else (1, 1, -1)))
    maps[f"{i:03d} {name}"] = x  # sorted by name, as jit has it, they keep their order
  return maps


def pooled(maps: dict[str, Array]) -> Array:
  """Each map by its maxima over 4x4 fields, side by side, float32 [B, D]; a smaller map as it is.

  Fields of sizes that 4 does not divide overlap by a pixel: field i of n pixels is i n / 4, rounded down, to
  (i + 1) n / 4, rounded up.
  """
  parts = []
  for x in maps.values():
    for axis in (1, 2):
      size = x.shape[axis]
      if size > GRID:
        ends = [(i * size // GRID, -(-(i + 1) * size // GRID)) for i in range(GRID)]
        x = jnp.stack([jnp.max(lax.slice_in_dim(x, *end, axis=axis), axis=axis) for end in ends], axis=axis)
    parts.append(x.reshape(len(x), -1).astype(jnp.float32))
  return jnp.concatenate(parts, axis=1)
