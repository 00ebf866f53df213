"""Orthogonal regularisation of the discriminator's weights."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from common.algorithm import Array
from common.schedules import Scheduled
from gan.penalties.seen import Seen
from gan.penalties.weights import check_weight, weight_at


@dataclasses.dataclass(frozen=True)
class Orthogonal:
  """weight * |W^T W * (1 - I)|_F^2 summed over kernels W of two or more axes (Brock et al. 2019, Eq. 3).

  The columns of W are its outputs; their lengths are free, only angles between them are drawn to 90 degrees. The same
  for every image of the batch.

  Attributes:
    weight: the paper's beta.
    every: updates of D from one time to the next.
  """

  weight: Scheduled = 1e-4
  every: int = 1

  def __post_init__(self):
    check_weight(self.weight, self.every)

  def init(self) -> Any:
    return ()

  def __call__(self, seen: Seen, aux: Any) -> tuple[Array, Any]:
    total = sum(off_diagonal(leaf) for leaf in jax.tree.leaves(seen.params) if leaf.ndim >= 2)
    return weight_at(self.weight, seen) * total * jnp.ones(len(seen.real)), aux


def off_diagonal(kernel: Array) -> Array:
  """The sum of the squared inner products of different columns of a kernel [..., features]."""
  columns = kernel.reshape(-1, kernel.shape[-1])
  gram = columns.T @ columns
  return jnp.sum((gram * (1.0 - jnp.eye(len(gram)))) ** 2)
