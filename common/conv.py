"""Convolutions whose derivatives of every order stay on the fast path.

A convolution and its two gradients are the partial gradients of one trilinear form T(x, w, g) = <F(x, w), g>:

  forward          F(x, w)  = dT/dg
  input gradient   DX(g, w) = dT/dx, a transposed convolution
  kernel gradient  DW(x, g) = dT/dw

Each is bilinear, and its derivatives are the other two. XLA:CPU is fast only for a convolution of NHWC by HWIO, and
what autodiff makes of one is laid out otherwise: a DCGAN step in ``lax.scan`` takes more than 20 times as long. So the
canonical form writes each map in that layout and ties the three with ``custom_vjp``. Two prices: forward mode
(``jax.jvp``) is refused, and inside ``shard_map`` with ``check_vma`` both operands must vary alike, which parameters do
once they are ``pcast`` (an error says so). GPU and TPU compilers choose layouts themselves, and there plain lax runs.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from common.build import ConfigError

Array = jax.Array
Initializer = Callable[..., Array]
Map = Callable[["Geometry", Array, Array], Array]
Pair = tuple[int, int]
Padding = str | int | Sequence[Pair]  # "SAME", "VALID", the same on every side, or ((top, bottom), (left, right))


class Geometry(NamedTuple):
  """What the three maps share and cannot read from both of their arrays; of height, then of width."""

  input_size: Pair
  kernel_size: Pair
  strides: Pair
  padding: tuple[Pair, Pair]

  def spread_size(self) -> Pair:
    """The size of the output with stride - 1 zeros between its pixels."""
    axes = zip(self.input_size, self.kernel_size, self.strides, self.padding, strict=True)
    height, width = ((size + sum(pad) - kernel) // stride * stride + 1 for size, kernel, stride, pad in axes)
    return height, width

  def axes(self) -> Iterator[tuple[int, int, int, int]]:
    """(input size, kernel size, padding before, size of the spread output) of height, then of width."""
    before = (low for low, _ in self.padding)
    return zip(self.input_size, self.kernel_size, before, self.spread_size(), strict=True)


_canonical_conv = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(geometry: Geometry, x: Array, w: Array) -> Array:
  return _canonical_conv(x, w, geometry.strides, geometry.padding)


def _input_gradient(geometry: Geometry, g: Array, w: Array) -> Array:
  if geometry.strides == (1, 1):
    return _spread_input_gradient(geometry, g, w)
  # What each output pixel sends to each place under the kernel is one matrix product. A place k of the kernel lies at
  # k // stride whole blocks of stride pixels and k % stride pixels in one, so blocks are shifted and added up.
  (stride_y, stride_x), (height, width) = geometry.strides, geometry.input_size
  (top, _), (left, _) = geometry.padding
  batch, rows, columns, _ = g.shape
  blocks_y, blocks_x = -(-w.shape[0] // stride_y), -(-w.shape[1] // stride_x)
  w = jnp.pad(w, ((0, blocks_y * stride_y - w.shape[0]), (0, blocks_x * stride_x - w.shape[1]), (0, 0), (0, 0)))
  # As two matrices: of arrays with more axes XLA would transpose one first.
  sent = lax.dot_general(g.reshape(-1, g.shape[3]), w.reshape(-1, w.shape[3]), (((1,), (1,)), ((), ())))
  sent = sent.reshape(batch, rows, columns, blocks_y, stride_y, blocks_x, stride_x, -1)
  x = jnp.zeros((), g.dtype)
  for i in range(blocks_y):
    for j in range(blocks_x):
      shift = [(0, 0, 0), (i, blocks_y - 1 - i, 0), (j, blocks_x - 1 - j, 0), *[(0, 0, 0)] * 3]
      x += lax.pad(sent[:, :, :, i, :, j], jnp.zeros((), g.dtype), shift)
  x = jnp.swapaxes(x, 2, 3).reshape(batch, (rows + blocks_y - 1) * stride_y, (columns + blocks_x - 1) * stride_x, -1)
  crop = [(0, 0, 0), (-top, top + height - x.shape[1], 0), (-left, left + width - x.shape[2], 0), (0, 0, 0)]
  return lax.pad(x, jnp.zeros((), g.dtype), crop)


def _spread_input_gradient(geometry: Geometry, g: Array, w: Array) -> Array:
  # The spread output against the flipped kernel, whose channels change places.
  padding = [(kernel - 1 - before, size + before - spread) for size, kernel, before, spread in geometry.axes()]
  flipped = jnp.swapaxes(jnp.flip(w, (0, 1)), 2, 3)
  return _canonical_conv(g, flipped, (1, 1), padding, lhs_dilation=geometry.strides)


def _kernel_gradient(geometry: Geometry, x: Array, g: Array) -> Array:
  # x against the spread output as a kernel. The sum runs over the batch, so batch and channels change places.
  padding = [(before, spread + kernel - 1 - size - before) for size, kernel, before, spread in geometry.axes()]
  # Fused with what comes before or after, XLA:CPU transposes element by element, up to ten times slower.
  x, g = lax.optimization_barrier((x, g))
  x, g = lax.optimization_barrier((jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(g, (1, 2, 0, 3))))
  w = lax.optimization_barrier(_canonical_conv(x, g, (1, 1), padding, rhs_dilation=geometry.strides))
  return lax.optimization_barrier(jnp.transpose(w, (1, 2, 0, 3)))


def _tie(forward: Map, input_gradient: Map, kernel_gradient: Map) -> tuple[Map, Map, Map]:
  """The same maps, with each other for derivatives in place of autodiff's."""
  f, dx, dw = (jax.custom_vjp(m, nondiff_argnums=(0,)) for m in (forward, input_gradient, kernel_gradient))

  def save_operands(m: Map) -> Callable[..., Any]:
    # m, not what it wraps: a derivative of this derivative comes through here.
    return lambda geometry, a, b: (m(geometry, a, b), (a, b))

  # x, w and g are those of T; the cotangent of a map stands in the place of its output.
  f.defvjp(save_operands(f), lambda geometry, xw, g: (dx(geometry, g, xw[1]), dw(geometry, xw[0], g)))
  dx.defvjp(save_operands(dx), lambda geometry, gw, x: (f(geometry, x, gw[1]), dw(geometry, x, gw[0])))
  dw.defvjp(save_operands(dw), lambda geometry, xg, w: (dx(geometry, xg[1], w), f(geometry, xg[0], w)))
  return f, dx, dw


# With H', W' the output's size: x [N, H, W, I], w [kh, kw, I, O] and g [N, H', W', O].
forward, input_gradient, kernel_gradient = _tie(_forward, _input_gradient, _kernel_gradient)


def _is_canonical(form: str) -> bool:
  if form not in ("auto", "canonical", "lax"):
    raise ConfigError(f'form="{form}" is not one of auto, canonical, lax')
  return form == "canonical" or (form == "auto" and jax.default_backend() == "cpu")


def _pair(value: int | Sequence[int]) -> Pair:
  height, width = (value, value) if isinstance(value, int) else value
  return height, width


def _resolve_padding(padding: Padding, size: Pair, kernel_size: Pair, strides: Pair) -> tuple[Pair, Pair]:
  """Padding in numbers for a convolution whose input has ``size``; SAME as TensorFlow has it, the odd pixel after."""
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


def _operands(module: "Conv | ConvTranspose", x: Array, kernel_init: Initializer) -> tuple[Array, Array, Array | None]:
  """x, kernel and bias in the dtype of the computation."""
  shape = (*_pair(module.kernel_size), x.shape[-1], module.features)
  kernel = module.param("kernel", kernel_init, shape, jnp.float32)
  bias = module.param("bias", module.bias_init, (module.features,), jnp.float32) if module.use_bias else None
  x, kernel, bias = promote_dtype(x, kernel, bias, dtype=module.dtype)
  return x, kernel, bias


class Conv(nn.Module):
  """2-D convolution (cross-correlation), [N, H, W, I] -> [N, H', W', features]; the function of ``flax.linen.Conv``.

  Attributes:
    features: number of output channels.
    kernel_size: (height, width), or one number for both; so with the strides.
    strides: step of the kernel between two output pixels.
    padding: "SAME" (H' = ceil(H / stride)), "VALID" (none), pixels on every side, or ((top, bottom), (left, right)).
    use_bias: adds a bias [features].
    kernel_init: initializer of the kernel [kh, kw, I, features].
    bias_init: initializer of the bias.
    dtype: of the computation; None takes the widest of input and parameters, which are float32.
    form: "canonical", "lax", or "auto": canonical on CPU, lax elsewhere. The function is the same.
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

  @nn.compact
  def __call__(self, x: Array) -> Array:
    kernel_size, strides, size = _pair(self.kernel_size), _pair(self.strides), _pair(x.shape[1:3])
    x, kernel, bias = _operands(self, x, self.kernel_init)
    geometry = Geometry(size, kernel_size, strides, _resolve_padding(self.padding, size, kernel_size, strides))
    if min(geometry.spread_size()) < 1:
      raise ConfigError(f"kernel_size={kernel_size} does not fit in {size} and padding; use larger images or padding")
    y = (forward if _is_canonical(self.form) else _forward)(geometry, x, kernel)
    return y if bias is None else y + bias


class ConvTranspose(nn.Module):
  """2-D transposed convolution, [N, H, W, I] -> [N, H', W', features].

  Exactly the input gradient of the `Conv` with the same kernel size, strides and padding that takes
  [N, H', W', features] to [N, H, W, I], at the kernel with its channel axes swapped. The kernel is not flipped, as in
  PyTorch, whose weight is this kernel transposed to (I, features, kh, kw); ``flax.linen.ConvTranspose`` uses the kernel
  flipped in height and width.

  Attributes:
    features, kernel_size, strides, use_bias, kernel_init, bias_init, dtype, form: as of `Conv`.
    padding: that of the matching `Conv`, which takes pixels away here. "SAME": H' = H * stride. Otherwise, as in
      PyTorch, H' = (H - 1) * stride - top - bottom + kernel + output_padding, where "VALID" is 0; so a kernel of 4 with
      stride 2 and padding 1 is "SAME".
    output_padding: pixels of H' and W' that the matching `Conv` leaves out at the end, where stride > 1; not with
      "SAME".
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
    # Stored as the matching Conv's, so that no pass has to transpose it.
    x, kernel, bias = _operands(self, x, lambda *args: jnp.swapaxes(self.kernel_init(*args), 2, 3))
    y = (input_gradient if _is_canonical(self.form) else _spread_input_gradient)(geometry, x, kernel)
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
