"""Momentum and epsilon reach every BatchNorm as themselves: a known collection of networks gave one as the other."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from common import random
from common.build import parameters
from common.layers.normalization import BatchNorm
from gan.networks import DISCRIMINATORS, GENERATORS

SHAPE = (16, 16, 1)
CONTEXT = {"image_shape": SHAPE, "pixel_range": (-1.0, 1.0), "attention_size": 0, "width": 8, "hidden": 8}
NETWORKS = [("G", table) for table in GENERATORS.items()] + [("D", table) for table in DISCRIMINATORS.items()]
NORMALIZED = [(player, *item) for player, item in NETWORKS if "bn_momentum" in parameters(item[1])]


def norms(player, constructor, **settings):
  """(momentum, epsilon) of each BatchNorm that a pass comes through."""
  known = {key: value for key, value in CONTEXT.items() if key in parameters(constructor)}
  network, found = constructor(**known, **settings), []

  def note(call, args, kwargs, context):
    if isinstance(context.module, BatchNorm):
      found.append((context.module.momentum, context.module.epsilon))
    return call(*args, **kwargs)

  inputs = jnp.zeros((2, 4)) if player == "G" else jnp.zeros((2, *SHAPE))
  keys = {} if player == "G" else {"keys": random.row_keys(jax.random.key(0), jnp.arange(2))}
  with nn.intercept_methods(note):
    jax.eval_shape(lambda: network.init(jax.random.key(0), inputs, train=True, **keys))
  return set(found)


@pytest.mark.parametrize(("player", "name", "constructor"), NORMALIZED, ids=[f"{p} {n}" for p, n, _ in NORMALIZED])
def test_momentum_and_epsilon_are_not_swapped(player, name, constructor):
  assert norms(player, constructor, bn_momentum=0.7, bn_epsilon=0.01) == {(0.7, 0.01)}
  epsilon = parameters(constructor)["bn_epsilon"].default
  assert norms(player, constructor) == {(0.9, epsilon)}
  assert epsilon == 0.8 if name == "tapered_mlp" else epsilon < 1e-3  # there the mistake is what is reproduced


@pytest.mark.parametrize("name", sorted(name for name in GENERATORS if "norm_classes" in parameters(GENERATORS[name])))
def test_which_batch_norms_have_scales_for_each_label(name):
  """All but the last of residual networks, plain in the authors' code of projection GANs, SAGAN and WGAN-GP."""
  found = []

  def note(call, args, kwargs, context):
    if isinstance(context.module, BatchNorm) and context.method_name == "__call__":
      found.append(context.module.num_classes)
    return call(*args, **kwargs)

  known = {key: value for key, value in CONTEXT.items() if key in parameters(GENERATORS[name])}
  network = GENERATORS[name](**known, norm_classes=3)
  with nn.intercept_methods(note):
    jax.eval_shape(
      lambda: network.init(jax.random.key(0), jnp.zeros((2, 4)), train=True, labels=jnp.zeros(2, jnp.int32))
    )
  assert len(found) > 1 and set(found[:-1]) == {3}
  assert found[-1] == (0 if name in ("resnet", "sagan") else 3)


def test_all_that_have_it_are_tested():
  assert len(NORMALIZED) == 7
