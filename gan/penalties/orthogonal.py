"""Orthogonal regularisation of a network's weights; the paper has it on the generator's, in `gan.gan.GAN`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from common.schedules import Scheduled
from common.types import Array, PyTree
from gan.penalties.seen import Seen
from gan.penalties.weights import check_weight, weight_at


@dataclasses.dataclass(frozen=True)
class Orthogonal:
  """weight * `non_orthogonality` of D, the same for every image of the batch (Brock et al. 2019, Eq. 3).

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
    total = non_orthogonality(seen.params)
    return weight_at(self.weight, seen) * total * jnp.ones(len(seen.real)), aux


def non_orthogonality(params: PyTree) -> Array:
  """|W^T W * (1 - I)|_F^2 summed over all kernels W but those of label embeddings, whose rows are looked up.

  The columns of W are its outputs; their lengths are free, only angles between them are drawn to 90 degrees. Gains,
  biases, tables of them by label, and learned inputs are no kernels. The groups of a grouped convolution are columns of
  one W, though they have inputs of their own.
  """
  total = jnp.zeros(())
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    *layers, name = (str(getattr(key, "key", key)) for key in path)
    if name == "kernel" and "label_embedding" not in layers:
      total += off_diagonal(leaf)
  return total


def off_diagonal(kernel: Array) -> Array:
  """The sum of the squared inner products of different columns of a kernel [..., features]."""
  columns = kernel.reshape(-1, kernel.shape[-1])
  gram = columns.T @ columns
  return jnp.sum((gram * (1.0 - jnp.eye(len(gram)))) ** 2)
