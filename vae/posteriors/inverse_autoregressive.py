"""Inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934): a draw passed through masked networks."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from common.errors import ConfigError
from common.layers.basic import Initializer
from common.types import Array
from vae.posteriors.gaussian import DiagonalGaussian, Draw

LECUN, ZEROS = nn.initializers.lecun_normal(), nn.initializers.zeros_init()
GATE_BIAS = 2.0  # the paper's "+1 or +2": sigma starts at 0.88, a forget gate that keeps z


class AutoregressiveStep(nn.Module):
  """z' = sigma * z + (1 - sigma) * m, sigma = sigmoid(s + GATE_BIAS) (Kingma et al. 2016, Algorithm 1).

  m and s of a coordinate are functions of the earlier coordinates and of the context, by a network with masks (MADE,
  Germain et al. 2015, arXiv:1502.03509). A hidden unit of degree d sees the first d coordinates, and the outputs of the
  coordinate at place p see units of degree p or less. Degrees are spread evenly, not drawn, and are the same in each
  layer; units of degree 0 carry the context to the first coordinate. The step starts as z' = sigmoid(GATE_BIAS) * z.
  Its inverse would take one pass for each coordinate, and is not needed where z is drawn.

  Attributes:
    order: the place of each coordinate, a permutation of 0 .. Z - 1.
    width: units of a hidden layer.
    layers: number of hidden layers, 1 or more.
  """

  order: tuple[int, ...]
  width: int
  layers: int

  @nn.compact
  def __call__(self, z: Array, context: Array) -> tuple[Array, Array]:
    """z [..., Z] and a context [..., C] -> z' [..., Z] and log|det dz'/dz| [...]."""
    place = np.array(self.order)
    degree = np.arange(self.width) * len(place) // self.width
    x = self._masked("in", z, place[:, None] < degree)
    x += nn.Dense(self.width, use_bias=False, name="context")(context)
    for i in range(1, self.layers):
      x = self._masked(f"hidden_{i}", nn.elu(x), degree[:, None] <= degree)
    x = self._masked("out", nn.elu(x), degree[:, None] <= np.tile(place, 2), ZEROS)
    mean, s = jnp.split(x, 2, axis=-1)
    s += GATE_BIAS
    # 1 - sigma as a sigmoid keeps its digits where sigma is next to 1.
    return nn.sigmoid(s) * z + nn.sigmoid(-s) * mean, jnp.sum(nn.log_sigmoid(s), axis=-1)

  def _masked(self, name: str, x: Array, mask: np.ndarray, init: Initializer = LECUN) -> Array:
    kernel = self.param(f"{name}_kernel", init, mask.shape)
    bias = self.param(f"{name}_bias", ZEROS, mask.shape[1:])
    return x @ jnp.where(mask, kernel, 0.0) + bias


class InverseAutoregressive(nn.Module):
  """A diagonal Gaussian and T autoregressive steps, each with the coordinates in the reverse order of the one before.

  stats = [mean | log_var | h], where h is the context of all steps.

  Attributes:
    steps: T of the paper.
    width: units of a hidden layer of a step's network.
    layers: its hidden layers.
    context: size of h, through which the steps depend on x.
  """

  steps: int = 4
  width: int = 128
  layers: int = 1
  context: int = 64
  gives = frozenset({"density", "real"})

  def __post_init__(self):
    for name in ("steps", "width", "layers", "context"):
      if getattr(self, name) < 1:
        raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more")
    super().__post_init__()

  @nn.nowrap
  def num_stats(self, z_dim: int) -> int:
    return 2 * z_dim + self.context

  @nn.compact
  def __call__(self, stats: Array, keys: Array, *, train: bool) -> Draw:
    gaussian, h = stats[:, : -self.context], stats[:, -self.context :]
    base = DiagonalGaussian()(gaussian, keys, train=train)
    z, log_q = base.z, base.log_q
    order = tuple(range(z.shape[-1]))
    for i in range(self.steps):
      step = AutoregressiveStep(order[::-1] if i % 2 else order, self.width, self.layers, name=f"step_{i}")
      z, log_det = step(z, h)
      log_q -= log_det
    return Draw(z, log_q)
