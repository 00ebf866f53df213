"""Networks that restore: what they do before training, sizes, numbers of weights, and the order of shuffled pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.degradations.resize import resized
from common.errors import ConfigError
from common.restoration.dncnn import DnCNN
from common.restoration.edsr import EDSR, pixel_shuffle, pixel_unshuffle
from common.restoration.rrdb import RRDB
from common.restoration.unet import UNet

X = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 9, 14, 3)), jnp.float32)


def fresh(network, x=X):
  return network.init_with_output(jax.random.key(0), x, train=False)


def weights_of(network, x=X):
  shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), x, train=False))
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


def test_channel_c_i_j_becomes_pixel_i_j_of_a_block():
  """As PyTorch's PixelShuffle numbers channels."""
  x = np.random.default_rng(0).normal(size=(2, 3, 2, 2 * 9)).astype(np.float32)
  y = pixel_shuffle(jnp.asarray(x), 3)
  for (row, column, c), value in np.ndenumerate(np.asarray(y)[1]):
    assert value == x[1, row // 3, column // 3, c * 9 + row % 3 * 3 + column % 3]
  np.testing.assert_array_equal(pixel_unshuffle(y, 3), x)


def test_edsr_m_has_the_weights_of_basicsr():
  convs = 3 * 64 * 9 + 64 + 33 * (64 * 64 * 9 + 64) + 64 * 256 * 9 + 256 + 64 * 3 * 9 + 3
  assert weights_of(EDSR(scale=2, channels=3)) == convs == 1_369_859


def test_rrdb_has_the_weights_of_basicsr():
  dense = sum(9 * (64 + 32 * i) * 32 + 32 for i in range(4)) + 9 * 192 * 64 + 64
  others = 9 * 3 * 64 + 64 + 4 * (9 * 64 * 64 + 64) + 9 * 64 * 3 + 3
  assert weights_of(RRDB(scale=4, channels=3)) == 69 * dense + others == 16_697_987


def test_rrdb_equals_one_by_hand():
  """Layer by layer in the order of BasicSR's code, with larger weights than at the start."""
  network = RRDB(scale=4, channels=3, width=4, blocks=2, growth=3)
  variables = fresh(network)[1]
  draw = np.random.default_rng(0)
  variables = jax.tree.map(lambda w: jnp.asarray(draw.normal(0, 0.3, w.shape), jnp.float32), variables)
  layers = iter(variables["params"][f"Conv_{i}"] for i in range(36))

  def conv(x):
    layer = next(layers)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, layer["kernel"], (1, 1), "SAME", None, None, dimensions) + layer["bias"]

  def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)

  def dense(x):
    x1 = leaky(conv(x))
    x2 = leaky(conv(jnp.concatenate([x, x1], -1)))
    x3 = leaky(conv(jnp.concatenate([x, x1, x2], -1)))
    x4 = leaky(conv(jnp.concatenate([x, x1, x2, x3], -1)))
    return 0.2 * conv(jnp.concatenate([x, x1, x2, x3, x4], -1)) + x

  head = x = conv(X)
  for _ in range(2):
    x = 0.2 * dense(dense(dense(x))) + x
  x = head + conv(x)
  for _ in range(2):
    x = leaky(conv(x.repeat(2, axis=1).repeat(2, axis=2)))
  np.testing.assert_allclose(network.apply(variables, X), conv(leaky(conv(x))), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rrdb_enlarges_pictures_of_any_size(scale):
  shape = jax.eval_shape(lambda: fresh(RRDB(scale=scale, channels=3, width=4, blocks=1))[0])
  assert shape.shape == (2, 9 * scale, 14 * scale, 3)


def test_dncnn_has_the_weights_of_its_paper():
  """17 layers of 64 without biases where BatchNorm follows, whose scale and shift count."""
  layers = 9 * 64 + 64 + 15 * (9 * 64 * 64 + 2 * 64) + 9 * 64 + 1
  assert weights_of(DnCNN(channels=1), X[..., :1]) == layers


@pytest.mark.parametrize("upsampler", ["stages", "direct"])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_edsr_enlarges_pictures_of_any_size(scale, upsampler):
  network = EDSR(scale=scale, channels=3, width=4, blocks=1, upsampler=upsampler)
  shape = jax.eval_shape(lambda: fresh(network)[0])
  assert shape.shape == (2, 9 * scale, 14 * scale, 3)


def test_edsr_without_a_last_layer_returns_the_bicubic_picture():
  network = EDSR(scale=2, channels=3, width=4, blocks=1, upsampler="direct", skip=True)
  variables = fresh(network)[1]
  last = variables["params"]["Conv_4"]
  variables["params"]["Conv_4"] = jax.tree.map(jnp.zeros_like, last)
  y = network.apply(variables, X)
  np.testing.assert_allclose(y, resized(X, 18, 28), atol=1e-6)
  variables["params"]["Conv_4"] = last
  assert np.abs(network.apply(variables, X) - y).max() > 1e-3


def test_a_scale_that_no_upsampler_makes_is_refused():
  with pytest.raises(ConfigError, match="enlarges by 1, 3 or a power of 2, not by 6; take --.upsampler=direct"):
    fresh(EDSR(scale=6, channels=3, width=4, blocks=1))
  with pytest.raises(ConfigError, match='upsampler="nearest" is not one of stages, direct'):
    fresh(EDSR(scale=2, channels=3, width=4, blocks=1, upsampler="nearest"))
  with pytest.raises(ConfigError, match="rrdb enlarges by 1, 2 or 4, not by 3; take --.name=edsr"):
    fresh(RRDB(scale=3, channels=3))


@pytest.mark.parametrize(
  "network",
  [
    DnCNN(channels=3, width=4, layers=3),
    DnCNN(channels=3, width=4, layers=3, shrink=2, batch_norm=False),
    UNet(channels=3, widths=(4, 6, 8), blocks=1),
  ],
)
def test_others_begin_with_the_input_at_any_size(network):
  """Also where the input has a mask behind its colors, or no color at all."""
  masked = jnp.concatenate([X, X[..., :1]], axis=-1)
  np.testing.assert_array_equal(fresh(network, masked)[0], X)
  np.testing.assert_array_equal(fresh(network, X[..., :1])[0], jnp.repeat(X[..., :1], 3, axis=-1))


@pytest.mark.parametrize(
  ("network", "reach"),
  [
    (EDSR(scale=1, channels=3, width=4, blocks=1, skip=True), 5),
    (DnCNN(channels=3, width=4, layers=3, batch_norm=False), 3),
  ],
)
def test_a_pixel_sees_as_far_as_the_layers_reach(network, reach):
  """Tiles that overlap by more have the same pixels as the whole."""
  x = jnp.asarray(np.random.default_rng(1).uniform(size=(1, 24, 4, 3)), jnp.float32)
  variables = fresh(network, x)[1]
  variables = jax.tree.map(lambda w: jnp.asarray(np.random.default_rng(w.size).normal(0, 0.3, w.shape)), variables)
  moved = np.abs(network.apply(variables, x.at[:, 12].add(1.0), train=False) - network.apply(variables, x, train=False))
  seen = np.flatnonzero(moved.max(axis=(0, 2, 3)) > 1e-7)
  assert (seen.min(), seen.max()) == (12 - reach, 12 + reach)
