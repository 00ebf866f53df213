"""Spectral normalization: divides a layer's weight by its largest singular value."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from common.types import Array

EPSILON = 1e-12  # added to a norm, as in Miyato's code and in PyTorch
VECTORS = "spectral"  # the collection of singular vectors of these kernels
START = "spectral_start"  # a collection of singular vectors of other kernels, close to these
TOLERANCE, MOST_ITERATIONS = 1e-6, 1000


class SpectralNorm(nn.Module):
  """A layer with W / sigma(W) in place of its kernel W, [B, ..., I] -> [B, ..., O] (Miyato et al. 2018, Algorithm 1).

  W is the kernel as a matrix [I, O]. A convolution [kh, kw, I, O] has rows (kh, kw, I), as in the authors' code, which
  bounds the map of each patch, not that of the whole image. sigma = v^T W u with the unit singular vectors "u" [O] and
  "v" [rows] of the collection "spectral". Autodiff treats them as constants and differentiates sigma through W.

  If "spectral" is mutable, one power iteration comes first: v <- W u, u <- W^T v. Otherwise the stored vectors are used
  unchanged. ``init`` samples u and computes v. If the collection "spectral_start" is given instead, as for averaged
  kernels, power iterations continue from its u until one raises sigma by less than a millionth. Parameters stay under
  the layer's own name.

  Attributes:
    layer: `Conv`, ``nn.Dense`` or another one-argument layer with a parameter "kernel" whose last axis is the output.
  """

  layer: nn.Module

  @nn.compact
  def __call__(self, x: Array) -> Array:
    if self.is_initializing():
      self.layer(x)
    params = self.layer.variables["params"]
    matrix = params["kernel"].reshape(-1, params["kernel"].shape[-1])
    constant = lax.stop_gradient(matrix)

    if self.has_variable(START, "u"):
      v, u = converged(constant, self.get_variable(START, "u"))
    else:
      v, u = self._tracked(constant)
    sigma = v @ matrix @ u
    return self.layer.clone(parent=None).apply({"params": {**params, "kernel": params["kernel"] / sigma}}, x)

  def _tracked(self, matrix: Array) -> tuple[Array, Array]:
    """Returns the collection's vectors v and u, after one iteration if it is mutable."""
    # Sampled at init only, from the initializers' stream.
    u = self.variable(VECTORS, "u", lambda: _unit(self._draw(matrix.shape[1:])))
    v = self.variable(VECTORS, "v", lambda: _unit(matrix @ u.value))
    if self.is_mutable_collection(VECTORS) and not self.is_initializing():
      v.value = _unit(matrix @ u.value)
      u.value = _unit(v.value @ matrix)
    return v.value, u.value

  def _draw(self, shape: tuple[int, ...]) -> Array:
    return nn.initializers.normal(1.0)(self.make_rng("params"), shape, jnp.float32)


def converged(matrix: Array, u: Array) -> tuple[Array, Array]:
  """Computes the first singular vectors v [rows] and u [O] of ``matrix`` by power iterations from u."""

  def iterate(carry: tuple[Array, ...]) -> tuple[Array, ...]:
    count, _, u, sigma, _ = carry
    v = _unit(matrix @ u)
    back = v @ matrix
    new = jnp.linalg.norm(back)
    return count + 1, v, _unit(back), new, new - sigma

  def rises(carry: tuple[Array, ...]) -> Array:
    count, _, _, sigma, rise = carry
    return (rise > TOLERANCE * sigma) & (count < MOST_ITERATIONS)

  first = iterate((jnp.zeros((), jnp.int32), u, u, jnp.zeros(()), u))
  _, v, u, _, _ = lax.while_loop(rises, iterate, first)
  return v, u


def _unit(x: Array) -> Array:
  return x / (jnp.linalg.norm(x) + EPSILON)
