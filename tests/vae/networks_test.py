"""Gated layers against separate layers in numpy and lax, their start, and the sizes of the published networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import stats
from scipy.special import expit

from vae.networks import conv_hvae, gated_mlp, hvae, vqgan
from vae.networks.conv_hvae import GatedConv
from vae.networks.gated_mlp import GatedDense

IMAGE, Z = (28, 28, 1), 40
BATCH = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)), jnp.float32)


def gated_by_hand(params, x):
  p = {name: np.asarray(value, np.float64) for name, value in params.items()}
  return (x @ p["kernel"] + p["bias"]) * expit(x @ p["gate_kernel"] + p["gate_bias"])


def linear_by_hand(params, x):
  return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"])


def test_each_half_of_a_gated_layer_starts_as_a_layer_of_its_own():
  """Kernels from N(0, 2 / inputs), not 2 / (inputs and gates), biases from U(-1, 1) / sqrt(inputs); none is shared."""
  params = GatedDense(300).init(jax.random.key(1), jnp.zeros((1, 200)))["params"]
  for name in ("kernel", "gate_kernel"):
    assert params[name].shape == (200, 300)
    assert stats.kstest(np.ravel(params[name])[:5000], stats.norm(scale=np.sqrt(2 / 200)).cdf).pvalue > 1e-3
  for name in ("bias", "gate_bias"):
    assert stats.kstest(params[name], stats.uniform(-(200**-0.5), 2 * 200**-0.5).cdf).pvalue > 1e-3
  assert abs(np.corrcoef(np.ravel(params["kernel"]), np.ravel(params["gate_kernel"]))[0, 1]) < 0.02
  assert abs(np.corrcoef(params["bias"], params["gate_bias"])[0, 1]) < 0.25


def test_gated_encoder_and_decoder_are_layers_by_hand():
  settings = {"image_shape": (4, 2, 1), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 2, "z_dim": 3, "width": 10}
  x, z = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4, 2, 1)), jnp.float32), BATCH[:, :3]
  encoded, variables = gated_mlp.Encoder(**settings).init_with_output(jax.random.key(0), x, None, train=True)
  p = variables["params"]
  h = gated_by_hand(p["hidden"]["GatedDense_1"], gated_by_hand(p["hidden"]["GatedDense_0"], np.reshape(x, (5, 8))))
  # Means and log-variances are two layers, so that a norm of one parameter is of one of them.
  expected = np.concatenate([linear_by_hand(p["out"][f"Dense_{i}"], h) for i in range(2)], axis=1)
  np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-5)
  assert p["out"]["Dense_0"]["kernel"].shape == p["out"]["Dense_1"]["kernel"].shape == (10, 3)
  decoded, variables = gated_mlp.Decoder(**settings).init_with_output(jax.random.key(0), (z,), None, train=True)
  p = variables["params"]
  h = gated_by_hand(p["hidden"]["GatedDense_1"], gated_by_hand(p["hidden"]["GatedDense_0"], z))
  assert decoded.shape == (5, 4, 2, 2)
  np.testing.assert_allclose(decoded.reshape(5, 16), linear_by_hand(p["out"], h), rtol=1e-4, atol=1e-5)


def linear(inputs, outputs):
  return (inputs + 1) * outputs


def gated(inputs, outputs):
  return 2 * linear(inputs, outputs)


def conv(maps, kernel, features):
  return 2 * (maps * kernel**2 + 1) * features


def shapes_of(file, layers):
  """Shapes of the outputs of every part, and the number of all parameters."""
  x, z = jnp.zeros((2, *IMAGE)), (jnp.zeros((2, Z)),) * layers

  def encodings(encoder):
    return encoder(x, None, train=True), *(encoder.below(x, None, z[:i], train=True) for i in range(1, layers))

  def decodings(decoder):
    return *(decoder.prior_below(z[:i]) for i in range(1, layers)), decoder(z, None, train=True)

  shapes, count = [], 0
  for side, method in ((file.Encoder, encodings), (file.Decoder, decodings)):
    network = side(image_shape=IMAGE, num_stats=lambda z_dim: 2 * z_dim, num_params=1, z_dim=Z)
    made = jax.eval_shape(lambda n=network, m=method: n.init_with_output(jax.random.key(0), method=m))
    shapes += [output.shape for output in made[0]]
    count += sum(leaf.size for leaf in jax.tree.leaves(made[1]["params"]))
  return shapes, count


@pytest.mark.parametrize("file", [gated_mlp, hvae, conv_hvae])
def test_the_published_networks_have_their_number_of_parameters(file):
  heads = lambda inputs: 2 * linear(inputs, Z)  # noqa: E731
  prior, lower = gated(Z, 300) + gated(300, 300) + heads(300), 0
  top = gated(784, 300) + gated(300, 300) + heads(300)
  if file is gated_mlp:
    decoder, prior = gated(Z, 300) + gated(300, 300) + linear(300, 784), 0
  elif file is hvae:
    lower = gated(784, 300) + gated(Z, 300) + gated(600, 300) + heads(300)
    decoder = gated(Z, 300) + gated(Z, 300) + gated(600, 300) + linear(300, 784)
  else:
    tail = conv(64, 3, 64) + conv(64, 3, 6)
    top = conv(1, 7, 32) + conv(32, 3, 32) + conv(32, 5, 64) + tail + heads(294)
    lower = conv(1, 3, 32) + conv(32, 3, 32) + conv(32, 3, 64) + tail + gated(Z, 294) + gated(588, 300) + heads(300)
    decoder = gated(Z, 300) + gated(Z, 300) + gated(600, 784) + conv(1, 3, 64) + 3 * conv(64, 3, 64) + linear(64, 1)
  shapes, count = shapes_of(file, layers := 1 if file is gated_mlp else 2)
  assert shapes == [(2, 2 * Z)] * (2 * layers - 1) + [(2, *IMAGE)]
  assert count == top + lower + prior + decoder


@pytest.mark.parametrize(
  ("kinds", "numbers", "settings", "encoder", "decoder"),
  [
    (1, 256, {}, 29_363_968, 42_515_587),
    (2, 4, {"multipliers": (1, 2, 4, 4), "attention": (), "channels": 4}, 34_163_664, 49_490_199),
  ],
)
def test_vqgan_at_f16_and_latent_diffusions_autoencoder_at_f8_have_the_size_of_the_authors(
  kinds, numbers, settings, encoder, decoder
):
  """Counted in their code (taming-transformers, diffusionmodules/model.py), with the 1x1 convolutions at z."""
  z_dim = numbers * (256 >> len(settings.get("multipliers", (1,) * 5)) - 1) ** 2
  shared = {"image_shape": (256, 256, 3), "num_stats": lambda z_dim: kinds * z_dim, "num_params": 1, "z_dim": z_dim}
  for side, x, count in (
    (vqgan.Encoder, jnp.zeros((1, 256, 256, 3)), encoder),
    (vqgan.Decoder, (jnp.zeros((1, z_dim)),), decoder),
  ):
    made = jax.eval_shape(
      lambda side=side, x=x: side(**shared, **settings).init(jax.random.key(0), x, None, train=True)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(made["params"])) == count


def test_a_gated_convolution_is_two_with_pixels_on_every_side():
  """Of stride 2, where SAME would pad at the bottom and the right only."""
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
  found, variables = GatedConv(features=4, kernel_size=3, stride=2).init_with_output(jax.random.key(1), x)
  params, numbers = variables["params"], ("NHWC", "HWIO", "NHWC")
  assert set(params) == {"Conv_0", "Conv_1"}
  plain, gate = (
    lax.conv_general_dilated(x, layer["kernel"], (2, 2), ((1, 1), (1, 1)), dimension_numbers=numbers) + layer["bias"]
    for layer in (params["Conv_0"], params["Conv_1"])
  )
  np.testing.assert_allclose(found, plain * jax.nn.sigmoid(gate), rtol=1e-4, atol=1e-5)
  limit = 27**-0.5
  for layer in params.values():
    kernel = np.asarray(layer["kernel"])
    assert np.abs(kernel).max() < limit and kernel.std() == pytest.approx(limit / 3**0.5, rel=0.15)
    assert 0 < np.abs(layer["bias"]).max() < limit
