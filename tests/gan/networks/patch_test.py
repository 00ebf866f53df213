"""The patch discriminator: the sizes of its patches and of its map, weights as in the authors' code."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from gan.networks.patch import Discriminator


@pytest.mark.parametrize(("layers", "patch", "places"), [(1, 16, 38), (2, 34, 18), (3, 70, 8)])
def test_a_logit_sees_one_patch(layers, patch, places):
  """16, 34 and 70 pixels a side, as Isola et al. 2017 name their discriminators."""
  side = 80
  network = Discriminator(width=1, layers=layers, batch_norm=False)
  draw = np.random.default_rng(0)
  shapes = jax.eval_shape(
    lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 1)), train=False, keys=None)
  )
  variables = jax.tree.map(lambda x: jnp.asarray(draw.uniform(0.1, 1.0, x.shape), jnp.float32), shapes)
  middle = (places // 2, places // 2)

  def logit(x):
    output = network.apply(variables, x, train=False, keys=None)
    assert output.logits.shape == (1, places, places) and len(output.layers) == layers + 1
    return output.logits[0][middle]

  seen = np.any(jax.grad(logit)(jnp.ones((1, side, side, 1)))[0, :, :, 0] != 0.0, axis=1)
  assert np.sum(seen) == patch


def test_weights_as_in_the_authors_code():
  """Of the pair of two colored images, 3 layers of stride 2, 64 channels: 2,768,705."""
  x = jnp.zeros((1, 70, 70, 6))
  shapes = jax.eval_shape(lambda: Discriminator().init(jax.random.key(0), x, train=False, keys=None))
  count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))
  widths = (6, 64, 128, 256, 512, 1)
  kernels = sum(16 * a * b for a, b in itertools.pairwise(widths))
  assert count == kernels + 64 + 1 + 2 * (128 + 256 + 512) == 2_768_705


def test_more_layers_than_an_image_has_room_for_are_refused():
  with pytest.raises(ConfigError, match="layers=2 is for images of 12 pixels or more; take --.layers=1"):
    jax.eval_shape(
      lambda: Discriminator(layers=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False, keys=None)
    )
