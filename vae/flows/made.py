"""A multilayer perceptron whose outputs see the earlier coordinates only (Germain et al. 2015, arXiv:1502.03509)."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from common.layers.basic import Initializer
from common.types import Array


class MADE(nn.Module):
  """Masked hidden layers; kernels are the only draws of its initialization.

  A hidden unit of degree d sees the d first coordinates, and the outputs of the coordinate at place p see units of
  degree p or less. Degrees are spread evenly, not drawn, and the same in each layer. Degree 0, whose units see nothing
  but the context, carries it to the first coordinate; without a context there is none.

  Attributes:
    order: the place of each coordinate, a permutation of 0 .. Z - 1.
    outputs: numbers for each coordinate.
    width: units of a hidden layer.
    layers: number of hidden layers, 1 or more.
    final_init: initializer of the last kernel.
  """

  order: tuple[int, ...]
  outputs: int = 1
  width: int = 64
  layers: int = 1
  final_init: Initializer = nn.initializers.lecun_normal()

  def __post_init__(self):
    if sorted(self.order) != list(range(len(self.order))):
      raise ValueError(f"order={self.order} is no permutation of 0 .. {len(self.order) - 1}")
    super().__post_init__()

  @nn.compact
  def __call__(self, z: Array, context: Array | None = None) -> Array:
    """Coordinates [..., Z] and what all outputs may see [..., C] -> [..., outputs, Z]."""
    place = np.array(self.order)
    size = len(place)
    low = min(1, size - 1) if context is None else 0
    degree = low + np.arange(self.width) * (size - low) // self.width
    init = nn.initializers.lecun_normal()
    x = self._affine("in", z, place[:, None] < degree, init)
    if context is not None:
      x += nn.Dense(self.width, use_bias=False, name="context")(context)
    for i in range(1, self.layers):
      x = self._affine(f"hidden_{i}", nn.elu(x), degree[:, None] <= degree, init)
    x = self._affine("out", nn.elu(x), degree[:, None] <= np.tile(place, self.outputs), self.final_init)
    return x.reshape(*z.shape[:-1], self.outputs, size)

  def _affine(self, name: str, x: Array, mask: np.ndarray, init: Initializer) -> Array:
    kernel = self.param(f"{name}_kernel", init, mask.shape)
    bias = self.param(f"{name}_bias", nn.initializers.zeros_init(), mask.shape[1:])
    return x @ jnp.where(mask, kernel, 0.0) + bias
