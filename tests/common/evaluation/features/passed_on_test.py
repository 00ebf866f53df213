"""What convolutions pass on, against the same layers called one by one; and of every discriminator."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.evaluation.features.passed_on import passed_on, pooled
from common.layers.conv import Conv
from common.layers.normalization import BatchNorm
from gan.networks import DISCRIMINATORS


class Small(nn.Module):
  """Two convolutions, the second with BatchNorm and an activation of its own, and two dense layers."""

  @nn.compact
  def __call__(self, x):
    x = nn.leaky_relu(Conv(3, 3, strides=2)(x), 0.2)
    x = jnp.tanh(BatchNorm(momentum=0.9, epsilon=1e-5, axis_name=None)(Conv(5, 3, strides=2)(x), train=False))
    x = nn.Dense(2)(x.reshape(len(x), -1))
    return nn.Dense(1)(x)


def test_maps_are_after_normalization_and_activation():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
  stats = {"BatchNorm_0": {"mean": jnp.arange(5.0), "var": jnp.full(5, 4.0)}}

  def both(x):
    params = Small().init(jax.random.key(1), x)["params"]
    first = nn.leaky_relu(Conv(3, 3, strides=2).apply({"params": params["Conv_0"]}, x), 0.2)
    last = Conv(5, 3, strides=2).apply({"params": params["Conv_1"]}, first)
    last = jnp.tanh((last - jnp.arange(5.0)) / jnp.sqrt(4.0 + 1e-5))
    return passed_on(lambda: Small().apply({"params": params, "batch_stats": stats}, x)), (first, last)

  maps, expected = jax.jit(both)(x)
  assert [*maps] == ["000 Conv_1", "001 Dense_0"]
  for found, by_hand in zip(maps.values(), expected, strict=True):
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


@pytest.mark.parametrize("size", [3, 7, 16])
def test_fields_cover_the_map(size):
  x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
  found = np.asarray(jax.jit(pooled)({"a": x, "b": np.zeros((2, 1, 1, 2), np.float32)}))
  side = min(size, 4)
  ends = [(int(np.floor(i * size / side)), int(np.ceil((i + 1) * size / side))) for i in range(side)]
  expected = [[x[:, a:b, c:d].max(axis=(1, 2)) for c, d in ends] for a, b in ends]
  np.testing.assert_array_equal(found[:, :-2], np.moveaxis(np.asarray(expected), 2, 0).reshape(2, -1))
  assert found.shape == (2, 3 * side**2 + 2)


MAPS = {
  "mlp": [],
  "tapered_mlp": [],
  "dcgan": [(8, 8, 4), (4, 4, 8)],
  "infogan": [(8, 8, 4), (4, 4, 8)],
  "patch": [(8, 8, 4), (7, 7, 8)],
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator(name):
  settings = {"dcgan": {"image_shape": (16, 16, 1)}, "infogan": {"image_shape": (16, 16, 1), "hidden": 16}}
  settings |= {"resnet": {"image_shape": (16, 16, 1)}}
  settings |= {"sagan": {"image_shape": (16, 16, 1), "attention_size": 8, "width": 8}}
  settings |= {"r3gan": {"image_shape": (16, 16, 1), "cardinality": 2}}
  settings |= {"patch": {"layers": 1}, "unet": {}, "df_gan": {"image_shape": (16, 16, 1)}}
  widths = {} if "mlp" in name else {"width": 4} | settings[name]
  network = DISCRIMINATORS[name](**widths)

  def run(x):
    keys = jax.random.split(jax.random.key(0), 2)
    variables = network.init(jax.random.key(0), x, train=True, keys=keys)
    return passed_on(lambda: network.apply(variables, x, train=False, keys=keys))

  found = [x.shape for x in jax.eval_shape(run, jax.ShapeDtypeStruct((2, 16, 16, 1), jnp.float32)).values()]
  assert all(len(shape) == 4 and shape[0] == 2 for shape in found)
  if name in MAPS:
    assert [shape[1:] for shape in found] == MAPS[name]
  else:
    end = {"unet": (16, 16), "df_gan": (4, 4)}.get(name, (1, 1))  # the others are summed over their pixels at the end
    assert len(found) >= 6 and found[-1][1:3] == end
