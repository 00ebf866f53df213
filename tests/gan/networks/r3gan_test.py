"""R3GAN: resampling against filters, blocks that start as the identity, the scale of weights, and labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from common.errors import ConfigError
from gan.networks.interface import LabelHead
from gan.networks.r3gan import Block, Discriminator, Generator, smooth_double, smooth_halve, stages_of
from tests.gan.networks.resnet_test import conv, fresh, moved

RNG = np.random.default_rng(0)
FILTER = np.convolve([1, 2, 1], [1, 1]) / 8  # of sum 1
X = RNG.normal(size=(2, 6, 4, 3)).astype(np.float32)


def filtered(x, gain):
  """x [H, W, C] under the filter, from a place before the first to one after the last."""
  kernel = gain**2 * np.outer(FILTER, FILTER)[..., None]
  return signal.convolve(x.astype(np.float64), kernel)[1:-1, 1:-1]  # of one type: scipy casts what it has not yet set


def test_doubling_interpolates():
  """Zeros between the pixels, then the filter; a constant keeps its value but at the edges."""
  spread = np.zeros((2, 12, 8, 3), np.float32)
  spread[:, ::2, ::2] = X
  expected = [filtered(image, 2.0)[:-1, :-1] for image in spread]
  np.testing.assert_allclose(smooth_double(X), expected, atol=1e-5)
  np.testing.assert_allclose(smooth_double(jnp.ones((1, 4, 4, 1)))[:, 1:-1, 1:-1], 1.0, atol=1e-6)


def test_halving_filters_and_takes_each_second():
  expected = [filtered(image, 1.0)[1::2, 1::2] for image in X]
  np.testing.assert_allclose(smooth_halve(X), expected, atol=1e-5)
  assert smooth_halve(X).shape == (2, 3, 2, 3)


def test_a_block_starts_as_the_identity_with_weights_of_a_stated_scale():
  x = jnp.asarray(RNG.normal(size=(1, 4, 4, 32)), jnp.float32)
  module = Block(blocks=8, expansion=2, cardinality=4, dtype="float32")
  params = module.init(jax.random.key(0), x)["params"]
  np.testing.assert_array_equal(module.apply({"params": params}, x), x)
  assert params["Conv_1"]["kernel"].shape == (3, 3, 16, 64)
  gain = np.sqrt(2 / (1 + 0.2**2)) * 8**-0.25
  for name, fan_in in {"Conv_0": 32, "Conv_1": 9 * 16}.items():
    np.testing.assert_allclose(np.std(params[name]["kernel"]), gain / np.sqrt(fan_in), rtol=0.05)
  assert not params["Conv_2"]["kernel"].any() and "bias" not in params["Conv_2"]


def test_a_block_is_the_formula():
  x = jnp.asarray(RNG.normal(size=(2, 3, 3, 4)), jnp.float32)
  module = Block(blocks=2, expansion=1, cardinality=2, dtype="float32")
  params = moved(module.init(jax.random.key(0), x)["params"], 1.0)
  leak = lambda h: np.where(h > 0, h, 0.2 * h)  # noqa: E731
  first, middle, last = (jax.tree.map(np.asarray, params[f"Conv_{i}"]) for i in range(3))
  h = leak(np.asarray(x) @ first["kernel"][0, 0] + first["bias"])
  halves = [conv({"kernel": middle["kernel"][..., half]}, h[..., half]) for half in (slice(0, 2), slice(2, 4))]
  expected = x + leak(np.concatenate(halves, axis=-1) + middle["bias"]) @ last["kernel"][0, 0]
  np.testing.assert_allclose(module.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-4)


SMALL = {"width": 4, "blocks": 1, "cardinality": 2, "embedding_dim": 6}


def test_labels():
  """G sees an embedding beside z; D's whole logit is a product with one, whose scale is 1 / sqrt(dimension)."""
  z, labels = jnp.ones((3, 5)), jnp.arange(3)
  one_hot = jax.nn.one_hot(labels, 10)
  g = Generator((8, 8, 1), **SMALL)
  variables = fresh(g, z, given=one_hot)
  assert variables["params"]["Dense_0"]["kernel"].shape == (5 + 6, 4)
  images = g.apply(variables, z, train=True, given=one_hot)
  assert np.abs(images[0] - images[1]).max() > 1e-3

  d = Discriminator((8, 8, 1), label_head=LabelHead("projection", 10), **{**SMALL, "embedding_dim": 400})
  variables = fresh(d, images, keys=None, given=one_hot)
  output = d.apply(variables, images, train=True, keys=None, given=one_hot)
  embedding = variables["params"]["label_embedding"]["kernel"]
  assert output.features.shape == (3, 400)
  np.testing.assert_allclose(output.logits, np.sum(embedding[labels] * output.features, -1), rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(np.std(embedding), 1 / np.sqrt(400 * 10), rtol=0.1)


@pytest.mark.parametrize("wide_to", [4, 16])
def test_both_networks_at_the_start_and_half_as_wide_from_a_size_on(wide_to):
  """While every block is the identity: G maps its basis to the next width, then doubles, without tanh; D mirrors it."""
  sizes = {**SMALL, "width": 8, "cardinality": 4, "wide_to": wide_to}
  module, z = Generator((16, 16, 3), **sizes), jnp.asarray(10 * RNG.normal(size=(2, 5)), jnp.float32)
  variables = fresh(module, z)
  p = variables["params"]
  groups = [(4, 16), (4, 8), (4, 4)] if wide_to == 4 else [(4, 16)] * 3
  assert [p[f"Block_{i}"]["Conv_1"]["kernel"].shape[2:] for i in range(3)] == groups
  gain = np.sqrt(2 / (1 + 0.2**2)) * 3**-0.25  # of three blocks in all
  np.testing.assert_allclose(np.std(p["Block_0"]["Conv_1"]["kernel"]), gain / np.sqrt(9 * 4), rtol=0.12)

  def joined(x, name):
    return x @ p[name]["kernel"][0, 0] if wide_to == 4 else x

  x = p["basis"] * (z @ p["Dense_0"]["kernel"])[:, None, None]
  for name in ("to_8x8", "to_16x16"):
    x = smooth_double(joined(x, name))
  expected = x @ p["Conv_0"]["kernel"][0, 0]
  np.testing.assert_allclose(module.apply(variables, z, train=True), expected, rtol=1e-4, atol=1e-4)
  assert np.abs(expected).max() > 1.0

  module, x = Discriminator((16, 16, 3), **sizes), jnp.asarray(RNG.normal(size=(2, 16, 16, 3)), jnp.float32)
  variables = fresh(module, x, keys=None)
  p = variables["params"]
  np.testing.assert_allclose(np.std(p["basis"]), 0.25, rtol=0.25)
  h = x @ p["Conv_0"]["kernel"][0, 0]
  for name in ("to_8x8", "to_4x4"):
    h = joined(smooth_halve(h), name)
  expected = jnp.einsum("bhwc,hwc->bc", h, p["basis"]) @ p["Dense_0"]["kernel"]
  np.testing.assert_allclose(module.apply(variables, x, train=True, keys=None).logits, expected[:, 0], atol=1e-4)


def test_the_authors_networks_for_256_pixels_narrow_from_64_on():
  """Widths 768 x 4, 384, 192, 96 and 16 channels a group throughout."""
  stages = stages_of((256, 256, 3), width=768, cardinality=96, wide_to=32)
  sizes = [(4, 768), (8, 768), (16, 768), (32, 768), (64, 384), (128, 192), (256, 96)]
  assert [(stage.size, stage.width) for stage in stages] == sizes
  assert all(2 * stage.width == 16 * stage.cardinality for stage in stages)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"width": 8, "cardinality": 4, "wide_to": 2}, "wide_to=2 must be 4 or more"),
    (
      {"width": 6, "cardinality": 4, "wide_to": 4},
      "width=6 and cardinality=4 are to be divided by 1, 2, 4 from 4 to 16 pixels",
    ),
    (
      {"width": 8, "cardinality": 2, "wide_to": 4},
      "width=8 and cardinality=2 .* take multiples of 4, or --.wide_to=16",
    ),
  ],
)
def test_widths_that_cannot_be_halved_are_refused(arguments, message):
  with pytest.raises(ConfigError, match=message):
    stages_of((16, 16, 1), **arguments)


def test_groups_that_do_not_divide_are_refused():
  with pytest.raises(ConfigError, match=r"cardinality=3 does not divide expansion \* width = 8"):
    jax.eval_shape(Block(1, 2, 3, "float32").init, jax.random.key(0), jnp.ones((1, 4, 4, 4)))
