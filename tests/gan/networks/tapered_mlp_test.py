"""The tapered MLPs written out in numpy, with their epsilon of 0.8, and their sizes."""

import jax
import jax.numpy as jnp
import numpy as np

from gan.networks.tapered_mlp import Discriminator, Generator
from tests.gan.networks.resnet_test import fresh, moved

RNG = np.random.default_rng(0)


def leaky(x):
  return np.where(x > 0, x, 0.2 * x)


def test_the_generator_by_hand():
  module, z = Generator((2, 3, 1), (-1.0, 1.0), widths=(4, 5, 6)), RNG.normal(size=(8, 3)).astype(np.float32)
  variables = fresh(module, z)
  p = moved(variables["params"])
  images, _ = module.apply({**variables, "params": p}, z, train=True, mutable=["batch_stats"])
  h = leaky(z @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
  for layer in (1, 2):
    assert "bias" not in p[f"Dense_{layer}"]
    h, norm = h @ p[f"Dense_{layer}"]["kernel"], p[f"BatchNorm_{layer - 1}"]
    h = leaky((h - h.mean(0)) / np.sqrt(h.var(0) + 0.8) * norm["scale"] + norm["bias"])
  expected = np.tanh(h @ p["Dense_3"]["kernel"] + p["Dense_3"]["bias"]).reshape(8, 2, 3, 1)
  np.testing.assert_allclose(images, expected, atol=1e-5)
  points = Generator((1, 1, 2), (-1.0, 1.0), kind="points", widths=(4,))
  variables = fresh(points, z)
  assert np.abs(points.apply(jax.tree.map(lambda a: 10 * a, variables), z, train=True)).max() > 1


def test_the_discriminator_by_hand():
  module, x = Discriminator(widths=(5, 4)), RNG.normal(size=(8, 2, 3, 1)).astype(np.float32)
  variables = fresh(module, x, keys=None)
  assert set(variables) == {"params"}
  output, p, h = module.apply(variables, x, train=True, keys=None), variables["params"], x.reshape(8, 6)
  for layer in (0, 1):
    h = leaky(h @ p[f"Dense_{layer}"]["kernel"] + p[f"Dense_{layer}"]["bias"])
  np.testing.assert_allclose(output.features, h, atol=1e-6)
  np.testing.assert_allclose(output.logits, (h @ p["Dense_2"]["kernel"] + p["Dense_2"]["bias"])[:, 0], atol=1e-6)


def test_sizes_and_initial_weights_are_the_tutorials():
  """With a bias of their own before each BatchNorm, 1,510,032 and 533,505 for 28x28 pixels."""
  generator = jax.eval_shape(
    lambda: Generator((28, 28, 1), (-1.0, 1.0)).init(jax.random.key(0), jnp.ones((1, 100)), train=True)
  )
  assert sum(p.size for p in jax.tree.leaves(generator["params"])) == 1_510_032 - (256 + 512 + 1024)
  module, x = Discriminator(), jnp.ones((1, 28, 28, 1))
  params = fresh(module, x, keys=None)["params"]
  assert sum(p.size for p in jax.tree.leaves(params)) == 533_505
  for leaf in params["Dense_0"].values():
    assert 0.9 / 28 < np.abs(leaf).max() <= 1 / 28
