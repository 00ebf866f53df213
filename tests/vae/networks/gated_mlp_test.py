"""Gated layers against two separate dense layers in numpy, and the weights that they start from."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.special import expit

from vae.networks.gated_mlp import Decoder, Encoder, GatedDense

BATCH = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7)), jnp.float32)


def gated(params, x):
  p = {name: np.asarray(value, np.float64) for name, value in params.items()}
  return (x @ p["kernel"] + p["bias"]) * expit(x @ p["gate_kernel"] + p["gate_bias"])


def linear(params, x):
  return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"])


def test_a_gated_layer_is_two_dense_layers():
  layer = GatedDense(3)
  params = layer.init(jax.random.key(0), BATCH)["params"]
  np.testing.assert_allclose(layer.apply({"params": params}, BATCH), gated(params, BATCH), rtol=1e-5, atol=1e-6)


def test_each_of_the_two_starts_as_a_layer_of_its_own():
  """Kernels from N(0, 2 / inputs), not 2 / (inputs and gates), biases from U(-1, 1) / sqrt(inputs); none is shared."""
  params = GatedDense(300).init(jax.random.key(1), jnp.zeros((1, 200)))["params"]
  for name in ("kernel", "gate_kernel"):
    assert params[name].shape == (200, 300)
    assert stats.kstest(np.ravel(params[name])[:5000], stats.norm(scale=np.sqrt(2 / 200)).cdf).pvalue > 1e-3
  for name in ("bias", "gate_bias"):
    assert stats.kstest(params[name], stats.uniform(-(200**-0.5), 2 * 200**-0.5).cdf).pvalue > 1e-3
  assert abs(np.corrcoef(np.ravel(params["kernel"]), np.ravel(params["gate_kernel"]))[0, 1]) < 0.02
  assert abs(np.corrcoef(params["bias"], params["gate_bias"])[0, 1]) < 0.25


def test_encoder_and_decoder_of_two_layers():
  settings = {"image_shape": (4, 2, 1), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 2, "z_dim": 3, "width": 10}
  x, z = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4, 2, 1)), jnp.float32), BATCH[:, :3]
  encoded, variables = Encoder(**settings).init_with_output(jax.random.key(0), x, None, train=True)
  p = variables["params"]
  h = gated(p["hidden"]["GatedDense_1"], gated(p["hidden"]["GatedDense_0"], np.reshape(x, (5, 8))))
  # Means and log-variances are two layers, so that a norm of one parameter is of one of them.
  expected = np.concatenate([linear(p["out"]["Dense_0"], h), linear(p["out"]["Dense_1"], h)], axis=1)
  np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-5)
  assert p["out"]["Dense_0"]["kernel"].shape == p["out"]["Dense_1"]["kernel"].shape == (10, 3)
  decoded, variables = Decoder(**settings).init_with_output(jax.random.key(0), (z,), None, train=True)
  p = variables["params"]
  h = gated(p["hidden"]["GatedDense_1"], gated(p["hidden"]["GatedDense_0"], z))
  assert decoded.shape == (5, 4, 2, 2)
  np.testing.assert_allclose(decoded.reshape(5, 16), linear(p["out"], h), rtol=1e-4, atol=1e-5)


def test_the_published_network_has_its_number_of_parameters():
  """784-300-300-(40, 40) and 40-300-300-784, each hidden layer twice."""
  settings = {"image_shape": (28, 28, 1), "num_stats": lambda z_dim: 2 * z_dim, "num_params": 1}
  sides = ((Encoder(**settings), jnp.zeros((1, 28, 28, 1))), (Decoder(**settings), (jnp.zeros((1, 40)),)))
  shapes = jax.eval_shape(lambda: [side.init(jax.random.key(0), at, None, train=True) for side, at in sides])
  gates = 2 * (785 * 300 + 301 * 300 + 41 * 300 + 301 * 300)
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == gates + 2 * 301 * 40 + 301 * 784
