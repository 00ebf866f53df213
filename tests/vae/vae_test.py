"""The VAE as a latent-variable model: what likelihood metrics will lean on."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.algorithm import Generative, LatentVariable
from common.errors import ConfigError
from common.parallel import make_mesh
from common.training.program import Program
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of, filled
from tests.vae.tiny_model import SPEC, keys_of, model_of
from vae.conditioning import with_unknown


@pytest.fixture(scope="module")
def plain():
  return model_of()


def test_contracts(plain):
  assert isinstance(plain[0], Generative) and isinstance(plain[0], LatentVariable)


def test_draws_of_p_have_the_density_of_p():
  """E_p[r(z) / p(z)] = 1 for any density r: a Gaussian within the cloud of the draws of two layers."""
  model = {"name": "hvae", "z_dim": 2, "lower_z_dim": 1, "width": 4}
  algorithm, state, batch = model_of(model=model, prior={"name": "vampprior", "components": 2})
  state = jax.tree.map(jnp.asarray, filled(jax.eval_shape(lambda: state)))
  z = jax.jit(lambda: algorithm.prior_sample(state, jax.random.key(3), jnp.arange(20_000)))()
  log_p = jax.jit(lambda: algorithm.log_prior(state, batch, tuple(part[None] for part in z)))()[0]
  flat = np.concatenate(z, axis=1).astype(np.float64)
  within = stats.multivariate_normal(flat.mean(0), 0.25 * np.cov(flat.T))
  ratios = np.exp(within.logpdf(flat) - log_p)
  error = ratios.std() / len(ratios) ** 0.5
  assert error < 0.05 and abs(ratios.mean() - 1.0) < 4 * error


def test_an_output_starts_at_the_mean_training_image():
  """As in the code of Burda et al. 2016: the logit of its grey values, clipped to [0.001, 0.999], averages too."""
  config, dataset = config_of("iwae:digits,tiny", ema__decay=0.9), dataset_of("iwae:digits,tiny")
  net = Program(build_algorithm(config, dataset.spec), dataset, config, make_mesh(1)).init().net
  mean = np.clip(dataset.train.arrays()["image"].astype(np.float64).mean(axis=0) / 255, 0.001, 0.999)
  for params in (net.params, net.ema_params):
    np.testing.assert_allclose(params["decoder"]["out"]["bias"], np.log(mean / (1 - mean)).ravel(), atol=1e-5)
    assert not np.any(params["encoder"]["out"]["bias"])
  assert mean.min() == 0.001 and mean.max() > 0.5
  with pytest.raises(ConfigError, match="takes 2 numbers; set --config.model.starts_at_mean=False"):
    model_of(model=dict(config.model), likelihood={"name": "gaussian"})


def test_many_draws_encode_each_image_once(plain):
  algorithm, state, batch = plain
  draw = jax.jit(lambda batch: algorithm.posterior_sample(state, batch, jax.random.key(1), 50))
  products = re.findall(r"stablehlo.dot_general.*-> tensor<([0-9x]+)xf32>", draw.lower(batch).as_text())
  assert products == ["8x16", "8x6"]  # hidden layer and statistics of 8 images, not of 50 draws of each


def test_reconstructions_stand_beside_their_images(plain):
  algorithm, state, batch = plain
  pairs = jax.jit(algorithm.visualize)(state, batch, jax.random.key(0))["reconstructions"]
  np.testing.assert_array_equal(pairs[0::2], batch["image"])
  assert pairs.shape[0] == 16 and not np.allclose(pairs[1::2], batch["image"])


def test_terms_of_the_bound_for_each_draw(plain):
  """Rates in closed form, the same for each draw; distortions of the draws that posterior_sample gives."""
  algorithm, state, batch = plain
  rng = jax.random.key(1)
  distortion, rates = jax.jit(lambda: algorithm.bound_terms(state, batch, rng, 5))()
  assert set(rates) == {"z"} and distortion.shape == rates["z"].shape == (5, 8)
  z, log_q = jax.jit(lambda: algorithm.posterior_sample(state, batch, rng, 5))()
  np.testing.assert_allclose(distortion, -jax.jit(algorithm.log_likelihood)(state, batch, z), rtol=1e-5)
  mean, log_var = jax.jit(algorithm.posterior_moments)(state, batch)
  rate = 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - 1 - log_var, axis=-1)
  np.testing.assert_allclose(rates["z"], jnp.broadcast_to(rate, (5, 8)), rtol=1e-5)
  expected = stats.norm.logpdf(z[0], mean, np.exp(0.5 * log_var)).sum(-1)
  np.testing.assert_allclose(log_q, expected, rtol=1e-4, atol=1e-4)


def test_the_penalties_of_a_posterior_are_in_the_loss():
  codes = {"name": "vector_quantized", "num_codes": 3, "code_dim": 1}
  algorithm, state, batch = model_of(posterior=codes, prior={"name": "uniform_codes"})
  _, metrics = jax.jit(algorithm.train_step)(state, batch, jax.random.key(1))
  mean = {name: float(value.total / value.count) for name, value in metrics.items()}
  assert mean["loss"] == pytest.approx(mean["commitment"] - mean["elbo"], rel=1e-6) and mean["commitment"] > 0.0


def test_a_posterior_without_moments_is_refused():
  algorithm, state, batch = model_of(posterior={"name": "planar", "steps": 1})
  with pytest.raises(ConfigError, match="the posterior Planar of z has no mean and variance in closed form"):
    algorithm.posterior_moments(state, batch)


def test_the_prior_of_a_lower_layer_is_clipped_as_its_posterior():
  """As in the public code of Exemplar VAE, whose log-variances all lie in [-6, 2]."""
  model = {"name": "hvae", "z_dim": 2, "lower_z_dim": 3, "width": 4}
  posterior = {"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}
  algorithm, make, _ = model_of(compiled=False, model=model, posterior=posterior)
  variables = jax.tree.map(lambda p: 100.0 * p, filled(jax.eval_shape(make)).net.variables())
  prior = algorithm.network.apply(variables, (jnp.ones((4, 2)),), None, method="_prior")
  assert prior.log_var.shape == (4, 3) and set(np.unique(prior.log_var)) <= {-6.0, 2.0}


def test_a_corruption_is_seen_by_the_encoder_in_training_only():
  """What is to be explained stays the clean image."""
  pieces = {"posterior": {"name": "deterministic"}, "prior": {"name": "none"}, "objective": {"name": "reconstruction"}}
  clean, state, batch = model_of(**pieces)
  noisy = model_of(**pieces, corruption={"name": "masking", "probability": 0.5})[0]
  variables, key = state.net.variables(), jax.random.key(1)
  seen = [jax.jit(lambda a=a: a._terms(variables, batch, key, train=True)[0])() for a in (clean, noisy)]
  assert not np.allclose(seen[0].z[0], seen[1].z[0])
  z = tuple(part[0] for part in seen[1].z)
  clean_image = clean.network.apply(variables, batch["image"], None, z, method="log_likelihood")
  np.testing.assert_allclose(seen[1].distortion[0], -clean_image, rtol=1e-5)
  held_out = [jax.jit(a.eval_step)(state, batch, key)["distortion"].total for a in (clean, noisy)]
  np.testing.assert_array_equal(*held_out)


def text_model(**arguments):
  return model_of(conditioning={"name": "text", "width": 8, "layers": 1, "heads": 2, **arguments})


def test_a_caption_reaches_the_decoder_alone():
  algorithm, state, batch = text_model()
  other = {**batch, "text": batch["text"][::-1]}
  means = [jax.jit(algorithm.posterior_moments)(state, b)[0] for b in (batch, other)]
  z = (jnp.zeros((8, 3)),)
  images = [jax.jit(algorithm.decode)(state, z, {"text": b["text"]}) for b in (batch, other)]
  np.testing.assert_array_equal(*means)
  assert not np.allclose(*images)
  losses = [jax.jit(algorithm.eval_step)(state, b, jax.random.key(0))["distortion"].total for b in (batch, other)]
  assert losses[0] != losses[1]
  with pytest.raises(ValueError, match="this model is given text, and not label"):
    algorithm.decode(state, z, {"label": batch["label"]})


def test_words_are_dropped_by_row_and_in_training_only():
  tokens = jnp.broadcast_to(jnp.where(jnp.arange(9) < 7, 2, 0), (2000, 9))
  found = np.asarray(with_unknown(tokens, keys_of(2000), 0.3, 1))
  assert set(np.unique(found[:, :7])) == {1, 2} and not found[:, 7:].any()
  assert abs(np.mean(found[:, :7] == 1) - 0.3) < 0.02
  np.testing.assert_array_equal(with_unknown(tokens[:1], keys_of(2000)[5:6], 0.3, 1)[0], found[5])
  (some, state, batch), (none, *_) = (text_model(dropout=rate) for rate in (0.9, 0.0))
  key = jax.random.key(1)
  trained = [jax.jit(a.train_step)(state, batch, key)[1]["distortion"].total for a in (some, none)]
  tested = [jax.jit(a.eval_step)(state, batch, key)["distortion"].total for a in (some, none)]
  assert trained[0] != trained[1] and tested[0] == tested[1]
  with pytest.raises(ConfigError, match=r"config\.model: dropout=1\.0 is not in \[0, 1\)"):
    text_model(dropout=1.0)


def test_labels_reach_the_encoder_and_the_decoder():
  algorithm, state, batch = model_of(conditioning={"name": "concat"})
  other = {**batch, "label": (batch["label"] + 1) % 10}
  means = [jax.jit(algorithm.posterior_moments)(state, b)[0] for b in (batch, other)]
  z = (jnp.zeros((8, 3)),)
  images = [jax.jit(algorithm.decode)(state, z, {"label": b["label"]}) for b in (batch, other)]
  assert not np.allclose(*means) and not np.allclose(*images)
  with pytest.raises(ValueError, match="this model is given label, and not nothing"):
    algorithm.decode(state, z)


SEEN = {
  "model": {"name": "unet", "z_dim": 3, "channels": (4, 8), "blocks": 1},
  "conditioning": {"name": "seen"},
  "prior": {"name": "conditional_normal", "hidden": 8, "sigma_mu": 2.0, "sigma_sigma": 0.1},
}


def test_of_an_image_with_a_hole_the_hole_is_modelled_and_the_rest_is_kept():
  """Proposal, prior and decoder see what is left of it; the likelihood and the result differ in the hole only."""
  algorithm, make, batch = model_of(compiled=False, **SEEN)
  state, rng = filled(jax.eval_shape(make)), jax.random.key(1)

  @jax.jit
  def figures(x, seen):
    rows, given = {**batch, "image": x, "seen": seen}, {"seen": seen}
    z = algorithm.prior_sample(state, rng, batch["index"], given)
    fixed = (jnp.ones((1, 8, 3)),)
    return {
      "q": algorithm.posterior_moments(state, rows)[0],
      "p": z[0],
      "image": algorithm.decode(state, (jnp.ones((8, 3)),), given),
      "log p": algorithm.log_likelihood(state, rows, fixed)[0],
      "restored": algorithm.visualize(state, rows, rng)["restored"],
      "terms": algorithm._terms(state.net.variables(), rows, rng, train=True)[0],
    }

  x, seen = batch["image"], batch["seen"]
  plain, dimmed = figures(x, seen), figures(x, seen.at[:, 0, 3, 0].add(0.5))
  np.testing.assert_array_equal(plain["image"][:, :, 2:], x[:, :, 2:])
  assert np.abs(plain["image"][:, :, :2] - x[:, :, :2]).min() > 0.0
  differ = {name: not np.allclose(plain[name], dimmed[name]) for name in ("q", "p", "log p")}
  assert differ == {"q": True, "p": True, "log p": True}
  assert not np.allclose(plain["image"][:, :, :2], dimmed["image"][:, :, :2])
  np.testing.assert_array_equal(plain["log p"], figures(x.at[:, :, 2:].add(0.3), seen)["log p"])
  assert not np.allclose(plain["log p"], figures(x.at[:, :, 1].add(0.3), seen)["log p"])
  np.testing.assert_array_equal(plain["restored"][0::3], seen[..., :1])
  np.testing.assert_array_equal(plain["restored"][2::3], x)
  np.testing.assert_array_equal(plain["restored"][1::3, :, 2:], x[:, :, 2:])
  prior = algorithm.network.apply(state.net.variables(), {"seen": seen}, method=_prior_of)
  expected = algorithm.network.prior.penalty(prior)
  np.testing.assert_allclose(plain["terms"].penalties["prior_penalty"][0], expected, rtol=1e-4)


def _prior_of(network, given):
  return network._prior((), network._prior_values(given))


@pytest.mark.parametrize("shape", [(4, 4, 1), (2, 2, 3)], ids=["grey", "small"])
def test_without_a_hole_the_whole_image_is_modelled(shape):
  """What is seen may lack colors, or be smaller, and is then enlarged."""
  spec = dataclasses.replace(SPEC, image_shape=(4, 4, 3))
  algorithm, make, batch = model_of(spec, compiled=False, **SEEN)
  batch["seen"] = jnp.zeros((8, *shape))
  state = filled(jax.eval_shape(make))

  def log_p(x):
    rows, z = {**batch, "image": x}, (jnp.ones((1, 8, 3)),)
    images = algorithm.decode(state, (z[0][0],), {"seen": batch["seen"]})
    return jnp.sum(algorithm.log_likelihood(state, rows, z)), images

  slopes, images = jax.jit(jax.grad(log_p, has_aux=True))(batch["image"])
  assert images.shape == (8, 4, 4, 3) and np.all(slopes != 0.0)
