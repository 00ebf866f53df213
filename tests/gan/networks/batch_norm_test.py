"""The settings of BatchNorm reach every layer: a known collection of networks swapped momentum and epsilon."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from common.layers.normalization import BatchNorm, BatchNormed
from gan.networks import DISCRIMINATORS, GENERATORS
from tests.gan.networks.shapes import shapes

NORMALIZED = [
  (table, name)
  for table in (GENERATORS, DISCRIMINATORS)
  for name, constructor in table.items()
  if issubclass(constructor, BatchNormed)
]


def layers(table, name, **settings):
  """The BatchNorms that a pass comes through."""
  found = []

  def note(call, args, kwargs, context):
    if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
      found.append((context.module, kwargs.get("given") is not None))
    return call(*args, **kwargs)

  with nn.intercept_methods(note):
    shapes(table, name, (16, 16, 1), **settings)
  return found


@pytest.mark.parametrize("number", range(7))
def test_momentum_and_epsilon_are_not_swapped(number):
  table, name = NORMALIZED[number]
  found = layers(table, name, bn_momentum=0.7, bn_epsilon=0.01)
  assert {(layer.momentum, layer.epsilon) for layer, _ in found} == {(0.7, 0.01)}
  epsilon = {"tapered_mlp": 0.8, "resnet": 2e-5}.get(name, 1e-5)
  assert {(layer.momentum, layer.epsilon) for layer, _ in layers(table, name)} == {(0.9, epsilon)}


@pytest.mark.parametrize("name", [name for table, name in NORMALIZED if table is GENERATORS])
def test_which_batch_norms_have_scales_for_each_label(name):
  """All but the last of residual networks, plain in the authors' code of projection GANs, SAGAN and WGAN-GP."""
  given = [given for _, given in layers(GENERATORS, name, given=jnp.eye(2, 3))]
  assert given and all(given[:-1])
  assert given[-1] == (name not in ("resnet", "sagan"))
