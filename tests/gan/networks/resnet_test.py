"""The residual networks against the paper's own order of operations, written with lax and singular values."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan.networks.resnet import Discriminator, Generator

NHWC = ("NHWC", "HWIO", "NHWC")
RNG = np.random.default_rng(0)


def conv(params, x):
  return lax.conv_general_dilated(x, params["kernel"], (1, 1), "SAME", dimension_numbers=NHWC) + params.get("bias", 0.0)


def pool(x):
  return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def double(x):
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def moved(params, by=0.1):
  """Every parameter moved, so that zero biases and unit scales hide nothing."""
  return jax.tree.map(lambda p: p + by * RNG.normal(size=p.shape).astype(np.float32), params)


def fresh(module, *inputs, **kwargs):
  return jax.jit(lambda: module.init(jax.random.key(0), *inputs, train=True, **kwargs))()


@pytest.mark.parametrize("size", [8, 32])
def test_the_discriminator_is_the_papers(size):
  """The first block pools before its shortcut, the others after it; 32x32 comes down to 8x8."""
  module, x = Discriminator((size, size, 3), width=6), jnp.asarray(RNG.normal(size=(2, size, size, 3)), jnp.float32)
  params = moved(fresh(module, x, keys=None)["params"])
  p, spectral = {}, {}
  for i, name in enumerate([*(f"Conv_{i}" for i in range(len(params) - 1)), "Dense_0"]):
    layer = params[name]
    left, sizes, right = np.linalg.svd(layer["kernel"].reshape(-1, layer["kernel"].shape[-1]))
    spectral[f"SpectralNorm_{i}"] = {"u": right[0], "v": left[:, 0]}
    p[name] = {**layer, "kernel": layer["kernel"] / sizes[0]}
  output = module.apply({"params": params, "spectral": spectral}, x, train=True, keys=None)

  # In order of construction: two 3x3 convolutions and a 1x1 shortcut for each block that halves.
  h = pool(conv(p["Conv_1"], nn.relu(conv(p["Conv_0"], x)))) + conv(p["Conv_2"], pool(x))
  last = 3
  for _ in range({8: 0, 32: 1}[size]):
    residual = pool(conv(p[f"Conv_{last + 1}"], nn.relu(conv(p[f"Conv_{last}"], nn.relu(h)))))
    h = residual + pool(conv(p[f"Conv_{last + 2}"], h))
    last += 3
  for _ in range(2):
    h = h + conv(p[f"Conv_{last + 1}"], nn.relu(conv(p[f"Conv_{last}"], nn.relu(h))))
    last += 2
  assert f"Conv_{last}" not in p
  features = jnp.sum(nn.relu(h), axis=(1, 2))
  np.testing.assert_allclose(output.features, features, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(output.logits, (features @ p["Dense_0"]["kernel"])[:, 0], rtol=1e-4, atol=1e-4)


def test_the_generator_is_the_papers():
  """A batch's statistics, doubling before the convolution, the shortcut's 1x1 convolution after it."""
  module, z = Generator((16, 16, 3), (-1.0, 1.0), width=5), jnp.asarray(RNG.normal(size=(4, 7)), jnp.float32)
  variables = fresh(module, z)
  params = moved(variables["params"])
  images, _ = module.apply({**variables, "params": params}, z, train=True, mutable=["batch_stats"])

  def normalize(p, x):
    mean, var = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
    return nn.relu(p["scale"] * (x - mean) / jnp.sqrt(var + 2e-5) + p["bias"])

  h = (z @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]).reshape(4, 4, 4, 5)
  for block in range(2):
    shortcut, first, second = (params[f"Conv_{3 * block + i}"] for i in range(3))
    assert "bias" not in first
    norms = [params[f"BatchNorm_{2 * block + i}"] for i in range(2)]
    residual = conv(second, normalize(norms[1], conv(first, double(normalize(norms[0], h)))))
    h = residual + conv(shortcut, double(h))
  expected = jnp.tanh(conv(params["Conv_6"], normalize(params["BatchNorm_4"], h)))
  np.testing.assert_allclose(images, expected, atol=1e-4)


def test_initial_weights_are_glorots():
  """U(-l, l) with l = sqrt(6 / (fan in + fan out)), in the blocks' 3x3 convolutions sqrt(2) times that."""
  params = fresh(Discriminator((8, 8, 3), width=32), jnp.zeros((1, 8, 8, 3)), keys=None)["params"]
  assert params["Conv_2"]["kernel"].shape == (1, 1, 3, 32) and "bias" not in params["Dense_0"]
  for name, limit in {
    "Conv_1": np.sqrt(2 * 6 / (9 * 64)),
    "Conv_2": np.sqrt(6 / 35),
    "Dense_0": np.sqrt(6 / 33),
  }.items():
    largest = np.abs(params[name]["kernel"]).max()
    assert 0.8 * limit < largest <= limit, name
    np.testing.assert_allclose(np.std(params[name]["kernel"]), limit / np.sqrt(3), rtol=0.2)
