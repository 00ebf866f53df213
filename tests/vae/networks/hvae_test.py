"""The two networks of two layers of latents, against the layers that the public code of Exemplar VAE has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vae.networks import conv_hvae, hvae
from vae.networks.conv_hvae import GatedConv, GatedConvs

IMAGE, Z = (28, 28, 1), 40


def encodings(encoder, x, z):
  return encoder(x, None, train=True), encoder.below(x, None, z[:1], train=True)


def decodings(decoder, x, z):
  return decoder.prior_below(z[:1]), decoder(z, None, train=True)


def shapes_of(file):
  """Shapes of the outputs of every part, and the number of all parameters."""
  x, z = jnp.zeros((2, *IMAGE)), (jnp.zeros((2, Z)),) * 2
  shapes, count = [], 0
  for side, method in ((file.Encoder, encodings), (file.Decoder, decodings)):
    network = side(image_shape=IMAGE, num_stats=lambda z_dim: 2 * z_dim, num_params=1)
    outputs, variables = jax.eval_shape(
      lambda n=network, m=method: n.init_with_output(jax.random.key(0), x, z, method=m)
    )
    shapes += [output.shape for output in outputs]
    count += sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
  return shapes, count


def linear(inputs, outputs):
  return (inputs + 1) * outputs


def gated(inputs, outputs):
  return 2 * linear(inputs, outputs)


def conv(maps, kernel, features):
  return 2 * (maps * kernel**2 + 1) * features


@pytest.mark.parametrize("file", [hvae, conv_hvae])
def test_the_published_networks_have_their_number_of_parameters(file):
  heads = lambda inputs: 2 * linear(inputs, Z)  # noqa: E731
  prior = gated(Z, 300) + gated(300, 300) + heads(300)
  if file is hvae:
    top = gated(784, 300) + gated(300, 300) + heads(300)
    lower = gated(784, 300) + gated(Z, 300) + gated(600, 300) + heads(300)
    decoder = gated(Z, 300) + gated(Z, 300) + gated(600, 300) + linear(300, 784)
  else:
    tail = conv(64, 3, 64) + conv(64, 3, 6)
    top = conv(1, 7, 32) + conv(32, 3, 32) + conv(32, 5, 64) + tail + heads(294)
    lower = conv(1, 3, 32) + conv(32, 3, 32) + conv(32, 3, 64) + tail + gated(Z, 294) + gated(588, 300) + heads(300)
    decoder = gated(Z, 300) + gated(Z, 300) + gated(600, 784) + conv(1, 3, 64) + 3 * conv(64, 3, 64) + linear(64, 1)
  shapes, count = shapes_of(file)
  assert shapes == [(2, 2 * Z)] * 3 + [(2, *IMAGE)]
  assert count == top + lower + prior + decoder


def test_a_gated_convolution_is_two_with_pixels_on_every_side():
  """Of stride 2, where SAME would pad at the bottom and the right only."""
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
  found, variables = GatedConv(features=4, kernel_size=3, stride=2).init_with_output(jax.random.key(1), x)
  params = variables["params"]
  assert set(params) == {"Conv_0", "Conv_1"}

  def plain(layer):
    numbers = ("NHWC", "HWIO", "NHWC")
    return (
      lax.conv_general_dilated(x, layer["kernel"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=numbers) + layer["bias"]
    )

  expected = plain(params["Conv_0"]) * jax.nn.sigmoid(plain(params["Conv_1"]))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  limit = 27**-0.5
  for layer in params.values():
    kernel = np.asarray(layer["kernel"])
    assert np.abs(kernel).max() < limit and kernel.std() == pytest.approx(limit / 3**0.5, rel=0.15)
    assert 0 < np.abs(layer["bias"]).max() < limit


@pytest.mark.parametrize("size", [28, 16, 10])
def test_the_maps_of_the_encoder_are_a_quarter_of_the_side(size):
  x = jnp.zeros((1, size, size, 1))
  out = jax.eval_shape(lambda: GatedConvs((7, 5), width=2).init_with_output(jax.random.key(0), x)[0])
  assert out.shape == (1, 6 * (-(-size // 4)) ** 2)
