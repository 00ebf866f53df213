"""Convolution and transposed convolution for Flax networks, in the form that is fast on the backend.

On a CPU this is the canonical form of `common.layers.conv_maps`; GPU and TPU compilers choose layouts themselves, so
plain lax is used there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from common.errors import ConfigError
from common.layers import conv_maps
from common.layers.conv_maps import Geometry, Pair
from common.types import Array

Initializer = Callable[..., Array]
Padding = str | int | Sequence[Pair]  # "SAME", "VALID", the same on every side, or ((top, bottom), (left, right))


def _is_canonical(form: str) -> bool:
  if form not in ("auto", "canonical", "lax"):
    raise ConfigError(f'form="{form}" is not one of auto, canonical, lax')
  return form == "canonical" or (form == "auto" and jax.default_backend() == "cpu")


def _pair(value: int | Sequence[int]) -> Pair:
  height, width = (value, value) if isinstance(value, int) else value
  return height, width


def _resolve_padding(padding: Padding, size: Pair, kernel_size: Pair, strides: Pair) -> tuple[Pair, Pair]:
  """Returns the padding in pixels for an input of ``size``; SAME pads an odd pixel at the end, as TensorFlow does."""
  if isinstance(padding, int):
    padding = ((padding, padding),) * 2
  elif padding == "VALID":
    padding = ((0, 0),) * 2
  elif padding == "SAME":
    padding = lax.padtype_to_pads(size, kernel_size, strides, "SAME")
  elif isinstance(padding, str) or any(isinstance(pad, int) for pad in padding):
    raise ConfigError(f'padding={padding} is not "SAME", "VALID", an integer or ((top, bottom), (left, right))')
  height, width = ((int(low), int(high)) for low, high in padding)
  return height, width


def _operands(
  module: "Conv | ConvTranspose", x: Array, inputs: int, kernel_init: Initializer
) -> tuple[Array, Array, Array | None]:
  """Returns x, kernel [kh, kw, inputs, features] and bias in the dtype of the computation."""
  shape = (*_pair(module.kernel_size), inputs, module.features)
  kernel = module.param("kernel", kernel_init, shape, jnp.float32)
  bias = module.param("bias", module.bias_init, (module.features,), jnp.float32) if module.use_bias else None
  x, kernel, bias = promote_dtype(x, kernel, bias, dtype=module.dtype)
  return x, kernel, bias


class Conv(nn.Module):
  """2-D convolution (cross-correlation), [N, H, W, I] -> [N, H', W', features], equal to ``flax.linen.Conv``.

  Attributes:
    features: number of output channels.
    kernel_size: (height, width), or one number for both; the same applies to strides.
    strides: step of the kernel between two output pixels.
    padding: "SAME" (H' = ceil(H / stride)), "VALID" (none), pixels on every side, or ((top, bottom), (left, right)).
    use_bias: adds a bias [features].
    kernel_init: initializer of the kernel [kh, kw, I, features].
    bias_init: initializer of the bias.
    dtype: dtype of the computation; None takes the widest of input and parameters, which are float32.
    form: "canonical", "lax", or "auto": canonical on CPU, lax elsewhere; results are equal.
    resample: "double" doubles the image by nearest neighbours before the convolution, "halve" averages 2x2 pixels
      after it; both need an odd kernel, stride 1 and SAME.
    groups: number of groups into which channels and features are split; each group of features depends on its group
      of channels only, and the kernel is [kh, kw, I / groups, features].
  """

  features: int
  kernel_size: int | Pair
  strides: int | Pair = 1
  padding: Padding = "SAME"
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Any = None
  form: str = "auto"
  resample: str = "none"
  groups: int = 1

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel_size, strides, size = _pair(self.kernel_size), _pair(self.strides), _pair(x.shape[1:3])
    if self.groups < 1 or x.shape[3] % self.groups or self.features % self.groups:
      raise ConfigError(f"groups={self.groups} does not divide {x.shape[3]} channels and {self.features} features")
    x, kernel, bias = _operands(self, x, x.shape[3] // self.groups, self.kernel_init)
    if self.resample != "none":
      y = self._resampled(x, kernel)
      return y if bias is None else y + bias
    geometry = Geometry(size, kernel_size, strides, _resolve_padding(self.padding, size, kernel_size, strides))
    if min(geometry.spread_size()) < 1:
      raise ConfigError(f"kernel_size={kernel_size} does not fit in {size} and padding; use larger images or padding")
    canonical = conv_maps.forward if self.groups == 1 else conv_maps.grouped_forward
    convolve = canonical if _is_canonical(self.form) else conv_maps.lax_forward
    y = convolve(geometry, x, kernel)
    return y if bias is None else y + bias

  def _resampled(self, x: Array, kernel: Array) -> Array:
    """Fuses doubling or halving into the convolution; canonical: one of stride 2, with 4/9 of the work for 3x3."""
    (kernel_y, kernel_x), (height, width) = kernel.shape[:2], x.shape[1:3]
    if self.resample not in ("double", "halve"):
      raise ConfigError(f'resample="{self.resample}" is not one of none, double, halve')
    plain = _pair(self.strides) == (1, 1) and self.padding == "SAME" and self.groups == 1
    if not plain or kernel_y % 2 == 0 or kernel_x % 2 == 0:
      raise ConfigError(
        f'resample="{self.resample}" goes with strides=1, padding="SAME", groups=1 and an odd kernel_size'
      )
    if self.resample == "halve" and (height % 2 or width % 2):
      raise ConfigError(f'resample="halve" needs an even size, not {height}x{width}')
    padding = ((kernel_y // 2,) * 2, (kernel_x // 2,) * 2)
    doubling = self.resample == "double"
    size = (2 * height, 2 * width) if doubling else (height, width)
    if not _is_canonical(self.form):
      y = conv_maps.lax_forward(
        Geometry(size, (kernel_y, kernel_x), (1, 1), padding), double(x) if doubling else x, kernel
      )
      return y if doubling else halve(y)
    geometry = Geometry(size, (kernel_y + 1, kernel_x + 1), (2, 2), padding)
    if doubling:
      return conv_maps.input_gradient(geometry, x, jnp.swapaxes(_summed(jnp.flip(kernel, (0, 1))), 2, 3))
    return conv_maps.forward(geometry, x, _summed(kernel) / 4)


def _summed(kernel: Array) -> Array:
  """Adds a kernel [kh, kw, I, O] at the four offsets of 2x2 pixels -> [kh + 1, kw + 1, I, O]."""
  places = [((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)) for i in (0, 1) for j in (0, 1)]
  return sum((jnp.pad(kernel, place) for place in places[1:]), start=jnp.pad(kernel, places[0]))


def double(x: Array) -> Array:
  """Repeats each pixel 2x2 times, [B, H, W, C] -> [B, 2H, 2W, C]."""
  batch, height, width, channels = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
  return x.reshape(batch, 2 * height, 2 * width, channels)


def halve(x: Array) -> Array:
  """Averages each 2x2 pixels, [B, H, W, C] -> [B, H/2, W/2, C]."""
  batch, height, width, channels = x.shape
  return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


class ConvTranspose(nn.Module):
  """2-D transposed convolution, [N, H, W, I] -> [N, H', W', features].

  This is the input gradient of the matching `Conv`, which has the same kernel size, strides and padding and maps
  [N, H', W', features] to [N, H, W, I]. The kernel is stored as that Conv's, [kh, kw, features, I]; initializers
  receive the shape [kh, kw, I, features]. PyTorch's weight is this kernel transposed to (I, features, kh, kw);
  ``flax.linen.ConvTranspose`` swaps its channel axes and flips it in height and width.

  Attributes:
    features, kernel_size, strides, use_bias, kernel_init, bias_init, dtype, form: as in `Conv`.
    padding: the padding of the matching `Conv`, which removes pixels here. "SAME": H' = H * stride. Otherwise, as in
      PyTorch, H' = (H - 1) * stride - top - bottom + kernel + output_padding, where "VALID" means 0; a kernel of 4
      with stride 2 and padding 1 equals "SAME".
    output_padding: number of pixels at the end of H' and W' that the matching `Conv` with stride > 1 does not reach;
      not allowed with "SAME".
  """

  features: int
  kernel_size: int | Pair
  strides: int | Pair = 1
  padding: Padding = "SAME"
  output_padding: int | Pair = 0
  use_bias: bool = True
  kernel_init: Initializer = nn.initializers.lecun_normal()
  bias_init: Initializer = nn.initializers.zeros_init()
  dtype: Any = None
  form: str = "auto"

  @nn.compact
  def __call__(self, x: Array) -> Array:
    geometry = self._matching_conv(_pair(x.shape[1:3]))
    # In this layout no pass has to transpose the kernel.
    x, kernel, bias = _operands(self, x, x.shape[3], lambda *args: jnp.swapaxes(self.kernel_init(*args), 2, 3))
    convolve = conv_maps.input_gradient if _is_canonical(self.form) else conv_maps.lax_input_gradient
    y = convolve(geometry, x, kernel)
    return y if bias is None else y + bias

  def _matching_conv(self, size: Pair) -> Geometry:
    kernel_size, strides, extra = _pair(self.kernel_size), _pair(self.strides), _pair(self.output_padding)
    if self.padding == "SAME":
      if any(extra):
        raise ConfigError(f'output_padding={self.output_padding} with padding="SAME"; give the padding in numbers')
      output_size = (size[0] * strides[0], size[1] * strides[1])
      return Geometry(output_size, kernel_size, strides, _resolve_padding("SAME", output_size, kernel_size, strides))
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
      raise ConfigError(f"output_padding={self.output_padding} is not below strides={self.strides}; reduce it")
    padding = _resolve_padding(self.padding, size, kernel_size, strides)
    axes = zip(size, kernel_size, strides, padding, extra, strict=True)
    height, width = ((n - 1) * stride - sum(pad) + kernel + e for n, kernel, stride, pad, e in axes)
    return Geometry((height, width), kernel_size, strides, padding)
