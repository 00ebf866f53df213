"""SNDCGAN against its table, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from common.errors import ConfigError
from gan.networks.sndcgan import Discriminator, Generator

RNG = np.random.default_rng(0)
NHWC = ("NHWC", "HWIO", "NHWC")


def fresh(module, *inputs, **kwargs):
  return jax.jit(lambda: module.init(jax.random.key(0), *inputs, train=True, **kwargs))()


def conv(params, x, stride=1):
  return lax.conv_general_dilated(x, params["kernel"], (stride,) * 2, "SAME", dimension_numbers=NHWC) + params["bias"]


def test_the_discriminator_is_the_papers():
  """Seven convolutions, 3x3 and 4x4 in turn, LeakyReLU(0.1); each weight over its own sigma."""
  module, x = Discriminator((8, 16, 3), width=4), jnp.asarray(RNG.normal(size=(2, 8, 16, 3)), jnp.float32)
  params = jax.tree.map(
    lambda p: p + RNG.normal(size=p.shape).astype(np.float32) / 4, fresh(module, x, rows=None)["params"]
  )
  p, spectral = {}, {}
  for i, name in enumerate([*(f"Conv_{i}" for i in range(7)), "Dense_0"]):
    kernel = params[name]["kernel"]
    left, sizes, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))
    spectral[f"SpectralNorm_{i}"] = {"u": right[0], "v": left[:, 0]}
    p[name] = {**params[name], "kernel": kernel / sizes[0]}
  h = x
  for i in range(7):
    assert p[f"Conv_{i}"]["kernel"].shape[0] == (3, 4)[i % 2]
    h = conv(p[f"Conv_{i}"], h, 1 + i % 2)
    h = jnp.where(h > 0, h, 0.1 * h)
  assert h.shape == (2, 1, 2, 32)
  output = module.apply({"params": params, "spectral": spectral}, x, train=True, rows=None)
  logits = h.reshape(2, -1) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
  np.testing.assert_allclose(output.logits, logits[:, 0], rtol=1e-3, atol=1e-4)
  assert [params[f"Conv_{i}"]["kernel"].shape[-1] for i in range(7)] == [4, 8, 8, 16, 16, 32, 32]


def test_the_generator_has_the_papers_shapes():
  """At full width: 512 channels at 4x4 for 32x32, halved at each of three doublings; one colour or three."""
  for channels in (1, 3):
    module, z = Generator((32, 32, channels), (-1.0, 1.0)), jnp.ones((2, 128))
    images, variables = jax.eval_shape(lambda m=module, z=z: m.init_with_output(jax.random.key(0), z, train=True))
    p = variables["params"]
    assert images.shape == (2, 32, 32, channels)
    assert p["Dense_0"]["kernel"].shape == (128, 4 * 4 * 512) and "bias" not in p["Dense_0"]
    kernels = [p[f"ConvTranspose_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(4, 4, 256, 512), (4, 4, 128, 256), (4, 4, 64, 128)]
    assert p["Conv_0"]["kernel"].shape == (3, 3, 64, channels) and len(p) == 1 + 3 + 4 + 1


def test_the_generators_last_layer_and_range():
  module, z = Generator((8, 8, 1), (-1.0, 1.0), width=2), jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
  variables = fresh(module, z)
  params = {**variables["params"], "Conv_0": {"kernel": jnp.zeros((3, 3, 2, 1)), "bias": jnp.full(1, 0.5)}}
  np.testing.assert_allclose(module.apply({**variables, "params": params}, z, train=False), np.tanh(0.5), atol=1e-6)


@pytest.mark.parametrize("size", [28, 12])
def test_a_size_that_8_does_not_divide_is_refused(size):
  for module, kwargs in (
    (Generator((size, size, 1), (-1.0, 1.0)), {}),
    (Discriminator((size, size, 1)), {"rows": None}),
  ):
    shape = (1, size, size, 1) if kwargs else (1, 4)
    with pytest.raises(ConfigError, match=f"multiples of 8, not {size}x{size}; set config.data.image_size"):
      jax.eval_shape(lambda m=module, s=shape, k=kwargs: m.init(jax.random.key(0), jnp.ones(s), train=True, **k))


def test_without_spectral_normalization_there_are_no_vectors():
  module, x = Discriminator((8, 8, 1), width=2, spectral_norm=False), jnp.ones((1, 8, 8, 1))
  variables = jax.eval_shape(lambda: module.init(jax.random.key(0), x, train=True, rows=None))
  assert set(variables) == {"params"}
