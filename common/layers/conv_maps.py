"""Convolutions whose derivatives of every order stay on the fast path.

A convolution and its two gradients are the partial gradients of one trilinear form T(x, w, g) = <F(x, w), g>:

  forward          F(x, w)  = dT/dg
  input gradient   DX(g, w) = dT/dx, a transposed convolution
  kernel gradient  DW(x, g) = dT/dw

Each map is bilinear, and its derivatives are the other two. XLA:CPU is fast only for convolutions of NHWC by HWIO, but
autodiff generates other layouts: a DCGAN step in ``lax.scan`` then takes more than 20 times as long. The canonical form
therefore writes each map in that layout and connects the three with ``custom_vjp``. It has two limitations: forward
mode (``jax.jvp``) raises an error, and inside ``shard_map`` with ``check_vma`` both operands must vary over the same
axes, which parameters do after ``pcast`` (an error says so).
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from common.types import Array

Pair = tuple[int, int]
Map = Callable[["Geometry", Array, Array], Array]


class Geometry(NamedTuple):
  """The parameters that the three maps share and cannot infer from their arrays, each as (height, width)."""

  input_size: Pair
  kernel_size: Pair
  strides: Pair
  padding: tuple[Pair, Pair]

  def spread_size(self) -> Pair:
    """Returns the size of the output after inserting stride - 1 zeros between its pixels."""
    axes = zip(self.input_size, self.kernel_size, self.strides, self.padding, strict=True)
    height, width = ((size + sum(pad) - kernel) // stride * stride + 1 for size, kernel, stride, pad in axes)
    return height, width

  def axes(self) -> Iterator[tuple[int, int, int, int]]:
    """Yields (input size, kernel size, padding before, size of the spread output) for height, then width."""
    before = (low for low, _ in self.padding)
    return zip(self.input_size, self.kernel_size, before, self.spread_size(), strict=True)


_canonical_conv = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def lax_forward(geometry: Geometry, x: Array, w: Array) -> Array:
  """Computes F with autodiff's derivatives; grouped if w [kh, kw, I / groups, O] has fewer inputs than x."""
  groups = x.shape[3] // w.shape[2]
  return _canonical_conv(x, w, geometry.strides, geometry.padding, feature_group_count=groups)


def _input_gradient(geometry: Geometry, g: Array, w: Array) -> Array:
  if geometry.strides == (1, 1):
    return lax_input_gradient(geometry, g, w)
  # One matrix product computes the contribution of each output pixel to each position under the kernel. Position k of
  # the kernel lies k // stride blocks and k % stride pixels from the start, so blocks are shifted and added.
  (stride_y, stride_x), (height, width) = geometry.strides, geometry.input_size
  (top, _), (left, _) = geometry.padding
  batch, rows, columns, _ = g.shape
  blocks_y, blocks_x = -(-w.shape[0] // stride_y), -(-w.shape[1] // stride_x)
  w = jnp.pad(w, ((0, blocks_y * stride_y - w.shape[0]), (0, blocks_x * stride_x - w.shape[1]), (0, 0), (0, 0)))
  # Both operands are matrices: XLA would first transpose one of two arrays with more axes.
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


def lax_input_gradient(geometry: Geometry, g: Array, w: Array) -> Array:
  """Computes DX with autodiff's derivatives."""
  # Convolves the spread output with the flipped kernel, whose channel axes are swapped.
  padding = [(kernel - 1 - before, size + before - spread) for size, kernel, before, spread in geometry.axes()]
  flipped = jnp.swapaxes(jnp.flip(w, (0, 1)), 2, 3)
  return _canonical_conv(g, flipped, (1, 1), padding, lhs_dilation=geometry.strides)


def _kernel_gradient(geometry: Geometry, x: Array, g: Array) -> Array:
  (kernel_y, kernel_x), (batch, rows, columns, _) = geometry.kernel_size, g.shape
  unpadded = x.shape[1:3] == (rows * kernel_y, columns * kernel_x) and not any(low for low, _ in geometry.padding)
  if unpadded and geometry.kernel_size == geometry.strides:
    # The kernel tiles the image, so one matrix product suffices. As a convolution XLA:CPU takes three times as long for
    # kernels as large as the image, and eight times as long if each tile is a pixel.
    x = jnp.swapaxes(x.reshape(batch, rows, kernel_y, columns, kernel_x, -1), 2, 3)
    w = lax.dot_general(x.reshape(batch * rows * columns, -1), g.reshape(-1, g.shape[3]), (((0,), (0,)), ((), ())))
    return w.reshape(kernel_y, kernel_x, -1, g.shape[3])
  # Convolves x with the spread output as a kernel. The sum is over the batch, so batch and channels are swapped.
  padding = [(before, spread + kernel - 1 - size - before) for size, kernel, before, spread in geometry.axes()]
  x, g = jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(g, (1, 2, 0, 3))
  return jnp.transpose(_canonical_conv(x, g, (1, 1), padding, rhs_dilation=geometry.strides), (1, 2, 0, 3))


def _tie(forward: Map, input_gradient: Map, kernel_gradient: Map) -> tuple[Map, Map, Map]:
  """Returns the same maps with each other as derivatives instead of autodiff's."""
  f, dx, dw = (jax.custom_vjp(m, nondiff_argnums=(0,)) for m in (forward, input_gradient, kernel_gradient))

  def save_operands(m: Map) -> Callable[..., Any]:
    # m, not the function it wraps, so that higher derivatives come through here too.
    return lambda geometry, a, b: (m(geometry, a, b), (a, b))

  # x, w and g are the arguments of T; the cotangent of a map takes the place of its output.
  f.defvjp(save_operands(f), lambda geometry, xw, g: (dx(geometry, g, xw[1]), dw(geometry, xw[0], g)))
  dx.defvjp(save_operands(dx), lambda geometry, gw, x: (f(geometry, x, gw[1]), dw(geometry, x, gw[0])))
  dw.defvjp(save_operands(dw), lambda geometry, xg, w: (dx(geometry, xg[1], w), f(geometry, xg[0], w)))
  return f, dx, dw


# H', W' is the output's size: x [N, H, W, I], w [kh, kw, I, O] and g [N, H', W', O].
forward, input_gradient, kernel_gradient = _tie(lax_forward, _input_gradient, _kernel_gradient)


def grouped_forward(geometry: Geometry, x: Array, w: Array) -> Array:
  """Computes F for w [kh, kw, I / groups, O]: each group of x's channels yields its own part of O."""
  groups = x.shape[3] // w.shape[2]

  def split(a: Array) -> Array:
    return jnp.moveaxis(a.reshape(*a.shape[:3], groups, -1), 3, 0)

  # One group after the other: XLA:CPU takes a hundred times as long for a grouped kernel gradient.
  y = lax.map(lambda operands: forward(geometry, *operands), (split(x), split(w)))
  return jnp.moveaxis(y, 0, 3).reshape(*y.shape[1:4], -1)
