"""DF-GAN's networks against the authors' order of operations, written with lax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan.networks.df_gan import Discriminator, Generator, _widths
from tests.gan.networks.resnet_test import double, moved, pool

NHWC = ("NHWC", "HWIO", "NHWC")
RNG = np.random.default_rng(0)
SHAPE = (16, 32, 3)  # two doublings of 4x8
Y = jnp.asarray(RNG.normal(size=(2, 5)), jnp.float32)


def conv(p, x, stride=1, padding=1):
  pads = ((padding, padding),) * 2
  out = lax.conv_general_dilated(x, p["kernel"], (stride, stride), pads, dimension_numbers=NHWC)
  return out + p.get("bias", 0.0)


def dense(p, x):
  return x @ p["kernel"] + p["bias"]


def lrelu(x):
  return nn.leaky_relu(x, 0.2)


def fused(p, numbers, x, y):
  for number in numbers:
    affine = p[f"Affine_{number}"]
    gamma, beta = (dense(affine[n], nn.relu(dense(affine[f"{n}_hidden"], y))) for n in ("gamma", "beta"))
    x = lrelu(gamma[:, None, None] * x + beta[:, None, None])
  return x


def block(p, x, y):
  """The image is doubled first, as there, and only then fused and convolved."""
  x = double(x)
  h = conv(p["Conv_0"], fused(p, (0, 1), x, y))
  h = conv(p["Conv_1"], fused(p, (2, 3), h, y))
  return h + (conv(p["Conv_2"], x, padding=0) if "Conv_2" in p else x)


def fresh(module, *inputs, **ways):
  return moved(jax.jit(lambda: module.init(jax.random.key(0), *inputs, train=True, **ways))()["params"])


def test_the_channels_are_the_authors():
  assert [32 * k for k in (1, 2, 4, 8)] == _widths(32, 3)  # 32x32
  assert [32 * k for k in (1, 2, 4, 8, 8, 8, 8)] == _widths(32, 6)  # 256x256


@pytest.mark.parametrize("given", [None, Y])
def test_the_generator_is_the_authors(given):
  z = jnp.asarray(RNG.normal(size=(2, 4)), jnp.float32)
  module = Generator(SHAPE, (-1.0, 1.0), width=2)
  params = fresh(module, z, given=given)
  y = z if given is None else jnp.concatenate([z, given], axis=1)
  x = dense(params["Dense_0"], z).reshape(2, 4, 8, 8)
  for number, features in enumerate((4, 2)):
    x = block(params[f"FusionBlock_{number}"], x, y)
    assert x.shape[-1] == features
  expected = jnp.tanh(conv(params["Conv_0"], lrelu(x)))
  actual = module.apply({"params": params}, z, given=given, train=True)
  np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("given", [None, Y])
def test_the_discriminator_is_the_authors(given):
  x = jnp.asarray(RNG.normal(size=(2, *SHAPE)), jnp.float32)
  module = Discriminator(SHAPE, width=2)
  params = fresh(module, x, keys=None, given=given)
  h = conv(params["Conv_0"], x)
  for number in range(2):
    first, second, shortcut = (params[f"Conv_{1 + 3 * number + i}"] for i in range(3))
    residual = lrelu(conv(second, lrelu(conv(first, h, stride=2))))
    h = pool(conv(shortcut, h, padding=0)) + params[f"gate{number}"] * residual
  if given is not None:
    h = jnp.concatenate([h, jnp.broadcast_to(given[:, None, None], (2, 4, 8, 5))], axis=-1)
  h = lrelu(conv(params["Conv_7"], h))
  logits = jnp.sum(h[..., None] * params["Conv_8"]["kernel"], axis=(1, 2, 3))[:, 0]
  output = module.apply({"params": params}, x, keys=None, given=given, train=True)
  np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(output.features, h.reshape(2, -1), atol=1e-5)


def test_a_new_block_is_given_nothing_and_a_new_discriminator_sees_through_its_shortcuts():
  """gamma starts at 1, beta and the gates at 0."""
  z, x = jnp.ones((2, 4)), jnp.asarray(RNG.normal(size=(2, *SHAPE)), jnp.float32)
  module = Generator(SHAPE, (-1.0, 1.0), width=2)
  variables = module.init(jax.random.key(0), z, given=Y, train=True)
  np.testing.assert_array_equal(*(module.apply(variables, z, given=y, train=True) for y in (Y, 5 * Y)))
  variables = Discriminator(SHAPE, width=2).init(jax.random.key(0), x, keys=None, train=True)
  assert [float(value) for name, value in variables["params"].items() if name.startswith("gate")] == [0.0, 0.0]
