"""SAGAN: widths and places of the paper at 128 pixels, its blocks by hand, attention where it is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from gan.networks.sagan import Discriminator, Generator
from tests.gan.networks.resnet_test import conv, fresh, moved, pool

RNG = np.random.default_rng(0)


def shapes(module, *inputs, **kwargs):
  return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs, train=True, **kwargs))


def test_128_pixels_have_the_papers_widths():
  """G 1024 at 4x4, then blocks of 1024, 512, 256, 128, 64; D 64 to 1024 and 1024 again; attention at 32x32."""
  images, g = shapes(Generator((128, 128, 3), (-1.0, 1.0)), jnp.ones((1, 128)))
  output, d = shapes(Discriminator((128, 128, 3)), jnp.ones((1, 128, 128, 3)), keys=None)
  assert images.shape == (1, 128, 128, 3) and output.features.shape == (1, 1024)
  assert g["params"]["Dense_0"]["kernel"].shape == (128, 16 * 1024)
  blocks = [g["params"][f"Conv_{3 * i + 2}"]["kernel"].shape[2:] for i in range(5)]
  assert blocks == [(1024, 1024), (512, 512), (256, 256), (128, 128), (64, 64)]
  blocks = [d["params"][f"Conv_{3 * i}"]["kernel"].shape[2:] for i in range(5)]
  assert blocks == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1024)]
  assert g["params"]["SelfAttention_0"]["Conv_2"]["kernel"].shape == (1, 1, 256, 128)  # G's third block, 32x32
  assert d["params"]["SelfAttention_0"]["Conv_2"]["kernel"].shape == (1, 1, 128, 64)  # D's second
  # Every kernel of both players has its two vectors.
  for variables in (g, d):
    kernels = sum(leaf.ndim > 1 for leaf in jax.tree.leaves(variables["params"]))
    assert len(jax.tree.leaves(variables["spectral"])) == 2 * kernels


def test_the_discriminators_blocks_are_the_papers():
  module = Discriminator((16, 16, 3), width=2, attention_size=0, spectral_norm=False)
  x = jnp.asarray(RNG.normal(size=(2, 16, 16, 3)), jnp.float32)
  p = moved(fresh(module, x, keys=None)["params"])
  h = pool(conv(p["Conv_1"], jax.nn.relu(conv(p["Conv_0"], x)))) + pool(conv(p["Conv_2"], x))
  h = pool(conv(p["Conv_4"], jax.nn.relu(conv(p["Conv_3"], jax.nn.relu(h))))) + pool(conv(p["Conv_5"], h))
  h = h + conv(p["Conv_7"], jax.nn.relu(conv(p["Conv_6"], jax.nn.relu(h))))
  assert h.shape == (2, 4, 4, 4) and "Conv_8" not in p
  features = jnp.sum(jax.nn.relu(h), (1, 2))
  output = module.apply({"params": p}, x, train=True, keys=None)
  np.testing.assert_allclose(output.features, features, rtol=1e-4, atol=1e-4)
  logits = features @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
  np.testing.assert_allclose(output.logits, logits[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
  ("module", "x", "sizes"),
  [
    (Generator((32, 32, 1), (-1.0, 1.0), width=8, attention_size=4), jnp.ones((1, 4)), "8, 16, 32"),
    (Discriminator((32, 32, 1), width=8, attention_size=32), jnp.ones((1, 32, 32, 1)), "4, 8, 16"),
  ],
)
def test_attention_at_the_size_of_no_block_is_refused(module, x, sizes):
  kwargs = {"keys": None} if x.ndim == 4 else {}
  with pytest.raises(ConfigError, match=f"attention_size=.* is the output of no block, which have {sizes}; take"):
    shapes(module, x, **kwargs)
