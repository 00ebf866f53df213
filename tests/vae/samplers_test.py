"""Densities of latents against closed forms, scipy and scikit-learn; and the VAE that has one as its prior."""

import dataclasses
import functools
import itertools
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy import stats

from common import random
from common.algorithm import LatentVariable
from common.data.latents import file_of, latents, save_latents, units
from common.data.spec import Spec
from common.errors import ConfigError
from configs import samplers
from experiments import build_algorithm
from tests.vae.tiny_model import model_of
from vae.conditioning import Label
from vae.samplers.gmm import FullMixture
from vae.samplers.latents import check, shape_of
from vae.samplers.with_prior import SecondStage, with_prior


@functools.cache
def fresh(name, shape, num_steps=100, rate=1e-3, **settings):
  """The density of configs/samplers.py for latents of a shape, and its fresh state."""
  config = samplers.get_config(name).unlock()
  config.train.num_steps, config.optim.learning_rate.start = num_steps, rate
  section = config.model if name == "two_stage" else config.sampler
  section.update({"z_dim": shape[-1], **settings} if name == "two_stage" else settings)
  algorithm = build_algorithm(config, Spec(shape, 10, 8, "points", (0.0, 1.0), ""))
  batch = {"image": jnp.zeros((2, *shape)), "index": jnp.arange(2), "label": jnp.zeros(2, jnp.int32)}
  return algorithm, jax.jit(algorithm.init)(jax.random.key(0), batch)


def keys(count, seed=0):
  return random.row_keys(jax.random.key(seed), jnp.arange(count))


def three_clusters(count=600):
  """Correlated Gaussians in the plane, of unlike shares, far from unit scale."""
  generator = np.random.default_rng(0)
  member = generator.choice(3, count, p=[0.5, 0.3, 0.2])
  factor = np.array([[[1.0, 0.0], [0.8, 0.5]], [[0.3, 0.0], [-1.0, 0.4]], [[0.6, 0.0], [0.0, 0.6]]])
  mean = np.array([[0.0, 0.0], [3.0, 1.0], [-1.0, 3.5]])
  z = mean[member] + np.einsum("nij,nj->ni", factor[member], generator.normal(size=(count, 2)))
  return (z * [5.0, 0.1] + [2.0, -7.0]).astype(np.float32)


def random_mixture():
  """A mixture of three in 4-D, its parameters, and its components' shares, means and covariances."""
  normal = np.random.default_rng(1).normal
  params = {"logits": normal(size=3), "mean": 2.0 * normal(size=(3, 4))}
  params |= {"log_diagonal": 0.3 * normal(size=(3, 4)), "lower": normal(size=(3, 4, 4))}
  factor = np.tril(params["lower"], -1) + np.exp(params["log_diagonal"])[:, :, None] * np.eye(4)
  share = np.exp(params["logits"]) / np.sum(np.exp(params["logits"]))
  variables = {"params": jax.tree.map(jnp.float32, params)}
  return FullMixture(4, components=3), variables, share, params["mean"], np.linalg.inv(factor @ factor.swapaxes(1, 2))


def test_a_mixtures_density_is_scipys():
  module, variables, share, mean, covariance = random_mixture()
  z = np.random.default_rng(2).normal(size=(5, 4))
  parts = [w * stats.multivariate_normal.pdf(z, m, c) for w, m, c in zip(share, mean, covariance, strict=True)]
  found = module.apply(variables, jnp.float32(z), method="log_prob")
  np.testing.assert_allclose(found, np.log(np.sum(parts, axis=0)), rtol=1e-4)


def test_a_mixtures_draws_have_its_moments():
  module, variables, share, means, covariance = random_mixture()
  draw = jax.jit(lambda keys: module.apply(variables, keys, method="sample"))
  z, mean = np.asarray(draw(keys(20000))), share @ means
  whole = np.einsum("k,kij->ij", share, covariance + np.einsum("ki,kj->kij", means - mean, means - mean))
  deviation = np.sqrt(np.diag(whole))
  np.testing.assert_array_less(np.abs(z.mean(axis=0) - mean), 5.0 * deviation / np.sqrt(len(z)))
  np.testing.assert_array_less(np.abs(np.cov(z, rowvar=False) - whole), 0.1 * np.outer(deviation, deviation))
  np.testing.assert_allclose(draw(keys(20000)[7:9]), z[7:9], atol=1e-4)  # row i depends on key i only


def log_p(algorithm, state, z):
  """log p of the latents z [N, Z] in the density's own units."""
  return jax.jit(lambda v, z: algorithm.module.apply(v, z, method="log_prob"))(state.net.variables(ema=True), z)


def standard(z):
  return (z - z.mean(axis=0)) / z.std(axis=0)


def started(algorithm, state, z):
  """The state at clusters of z [N, Z]."""
  return algorithm.start(state, SimpleNamespace(arrays=lambda: {"image": z[:, None, None]}))


def test_one_gaussian_starts_at_the_latents_own():
  z = standard(three_clusters())
  algorithm, state = fresh("gmm", (1, 1, 2), components=1)
  expected = stats.multivariate_normal.logpdf(z, z.mean(axis=0), np.cov(z, rowvar=False))
  np.testing.assert_allclose(log_p(algorithm, started(algorithm, state, z), z), expected, atol=0.02)


def test_a_mixture_starts_at_every_cluster_whatever_the_order_of_the_latents():
  """From the first points, which belong to one cluster, k-means would divide it and join the others."""
  centers = np.float32([[0, 0], [1, 0], [1, 0.5]])
  z = np.repeat(centers, [40, 20, 20], axis=0) + np.float32(np.random.default_rng(0).normal(0.0, 0.01, (80, 2)))
  mean = FullMixture(2, components=3).start_at(z)["mean"]
  np.testing.assert_allclose(mean[np.lexsort(mean.round(1).T[::-1])], centers, atol=0.02)
  with pytest.raises(ConfigError, match="components=3 needs more latents than the 3 there are"):
    FullMixture(2, components=3).start_at(z[:3])


def test_a_mixture_is_fitted_as_scikit_learn_fits_it():
  """Mean log-likelihoods in nats; that of one Gaussian is well below."""
  mixture = pytest.importorskip("sklearn.mixture", reason="scikit-learn of the extra [dev] is not installed")
  z = standard(three_clusters())
  expected = mixture.GaussianMixture(3, n_init=5, random_state=0).fit(z).score(z)
  algorithm, state = fresh("gmm", (1, 1, 2), 2000, 5e-3, components=3)
  batch = {"image": jnp.asarray(z)[:, None, None], "index": jnp.arange(len(z)), "mask": jnp.ones(len(z))}

  @jax.jit
  def train(state):
    return jax.lax.fori_loop(0, 300, lambda _, s: algorithm.train_step(s, batch, jax.random.key(0))[0], state)

  nll = algorithm.eval_step(train(started(algorithm, state, z)), batch, jax.random.key(0))["nll"]
  assert abs(float(-nll.total / nll.count) - expected) < 0.05
  alone = stats.multivariate_normal.logpdf(z, z.mean(axis=0), np.cov(z, rowvar=False)).mean()
  assert expected - alone > 0.3


def test_latents_are_kept_in_units_of_their_own(tmp_path):
  """A latent that does not vary is no division by zero, and a density starts at finite values on it."""
  z = np.concatenate([three_clusters(), np.full((600, 1), 3.0, np.float32)], axis=1)
  sizes = {"train": len(z), "validation": 0, "test": 5}
  splits = {split: {"image": z[:size, None, None], "label": np.arange(size) % 3} for split, size in sizes.items()}
  splits["test"]["text"] = ["a", "bb", "", "c", "d"]
  save_latents(file := file_of(tmp_path, "latents:0-hash"), splits, 3, standardise=True)
  source = latents(str(tmp_path), "latents:0-hash")
  kept, (shift, scale) = source.load("train")["image"][:, 0, 0], units(file)
  np.testing.assert_allclose(kept[:, :2].std(axis=0), 1.0, rtol=1e-3)
  np.testing.assert_allclose(shift + scale * kept, z, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(source.load("test")["image"], source.load("train")["image"][:5])
  assert source.num_classes == 3 and source.load("train")["label"][:4].tolist() == [0, 1, 2, 0]
  assert list(source.captions("test")) == ["a", "bb", "", "c", "d"] and source.captions("train") is None
  algorithm, state = fresh("gmm", (1, 1, 3), components=2)
  assert np.all(np.isfinite(log_p(algorithm, started(algorithm, state, kept), kept)))


def test_a_second_stage_bounds_one_gaussian_by_its_rate():
  """Decoder at 0, so log p(z) = log N(z; 0, sigma^2 I); encoder at its biases, so q(u|z) is the same for every z."""
  algorithm, state = fresh("two_stage", (1, 1, 2), width=4, layers=1)
  params = jax.tree.map(jnp.zeros_like, state.net.params)
  params["likelihood"]["log_var"] = jnp.float32(np.log(0.25))
  mean, log_var = np.float32([0.5, -1.0]), np.float32([0.3, -0.4])
  params["encoder"]["out"]["bias"] = jnp.concatenate([mean, log_var])
  module, variables, z = SecondStage(algorithm.network), {"params": {"model": params}}, standard(three_clusters())
  bound = jax.jit(lambda z, keys: module.apply(variables, z, None, keys, method="log_prob"))(z, keys(len(z)))
  rate = 0.5 * np.sum(mean**2 + np.exp(log_var) - 1.0 - log_var)
  np.testing.assert_allclose(bound, stats.norm.logpdf(z, 0.0, 0.5).sum(axis=-1) - rate, rtol=1e-4)
  sample = jax.jit(lambda keys: module.apply(variables, keys, method="sample"))
  draws = np.asarray(sample(keys(2000)))
  np.testing.assert_allclose(draws.std(axis=0), 0.5, rtol=0.1)
  np.testing.assert_allclose(sample(keys(2000)[3:5]), draws[3:5], rtol=1e-5)


def test_a_second_stage_leaves_the_gaussian_that_white_latents_look_like():
  """Independent signs with noise have the covariance of one Gaussian, near which u at first says nothing of z."""
  generator = np.random.default_rng(0)
  z = np.float32(generator.choice([-1.0, 1.0], (2000, 4)) + generator.normal(0.0, 0.1, (2000, 4)))
  algorithm, state = fresh("two_stage", (1, 1, 4), 2000, rate=3e-3, width=32, layers=2)

  def step(state, i):
    rng = jax.random.key(i)
    batch = {"image": jax.random.choice(rng, z, (128,))[:, None, None], "index": jnp.arange(128)}
    return algorithm.train_step(state, {**batch, "label": batch["index"]}, rng)

  _, metrics = jax.jit(lambda s: lax.scan(step, s, jnp.arange(2000)))(state)
  rate, bound = (metrics[name].total[-100:].mean() / 128 for name in ("rate", "elbo"))
  assert rate > 2 and bound > 1.5 - 4 * 0.5 * np.log(2 * np.pi * np.e), (rate, bound)


CODES = {
  "model": {"name": "resnet", "z_dim": 8, "width": 4, "hidden": 2, "halvings": 1, "blocks": 0},
  "posterior": {"name": "vector_quantized", "num_codes": 3, "code_dim": 2},
  "prior": {"name": "uniform_codes"},
}
LAYERS = {"model": {"name": "hvae", "z_dim": 2, "lower_z_dim": 3, "width": 4}}


@functools.cache
def small(kind):
  """A tiny VAE, its fresh state and a batch; compiled once."""
  return model_of(**{"plain": {}, "codes": CODES, "layers": LAYERS}[kind])


def put(kind, density, fitted, shift=0.0, scale=1.0):
  """A tiny VAE with a density in the place of its prior, and its state."""
  vae, state, _ = small(kind)
  shift, scale = (jnp.broadcast_to(jnp.float32(value), (math.prod(shape_of(vae)),)) for value in (shift, scale))
  return with_prior(vae, state, density, fitted, (shift, scale))


def test_a_vae_under_its_own_prior_is_unchanged():
  """A fresh flow is N(0, I), the VAE's prior: densities, bounds and their parts agree."""
  vae, state, batch = small("plain")
  both, pair = put("plain", *fresh("flow", (1, 1, 3), layers=2, width=8))
  assert isinstance(both, LatentVariable) and both.has_prior and not both.normal_latents
  rng = jax.random.key(1)

  @jax.jit
  def look(pair, state):
    z, log_q = both.posterior_sample(pair, batch, rng, 2)
    drawn = both.prior_sample(pair, rng, jnp.arange(6))
    distortion, rates = both.bound_terms(pair, batch, rng, 2)
    return {
      "rate": (rates["z"], log_q - vae.log_prior(state, batch, z)),
      "log_prior": (both.log_prior(pair, batch, z), vae.log_prior(state, batch, z)),
      "distortion": (distortion, -vae.log_likelihood(state, batch, z)),
      "rows": (both.prior_sample(pair, rng, jnp.arange(4, 6))[0], drawn[0][4:]),
      "pictures": (both.decode(pair, drawn), vae.decode(state, drawn)),
    }, both.eval_step(pair, batch, rng)

  pairs, metrics = look(pair, state)
  for name, (ours, expected) in pairs.items():
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5, err_msg=name)
  found = {name: mean.total / mean.count for name, mean in metrics.items()}
  np.testing.assert_allclose(found["elbo"], -(found["distortion"] + found["rate"]), rtol=1e-5)
  np.testing.assert_allclose(found["latent_nll"], found["latent_bits_per_dim"] * 16 * np.log(2.0), rtol=1e-5)
  assert 0.0 < found["rate"] < found["latent_nll"]


def test_layers_are_drawn_side_by_side_in_the_latents_units():
  assert shape_of(small("layers")[0]) == (1, 1, 5)
  algorithm, state = fresh("gmm", (1, 1, 5), components=1)
  both, pair = put("layers", algorithm, state, jnp.arange(5.0), 0.1)
  top, below = jax.jit(both.prior_sample)(pair, jax.random.key(0), jnp.arange(500))
  z = np.concatenate([top, below], axis=-1)
  assert (top.shape, below.shape) == ((500, 2), (500, 3))
  np.testing.assert_allclose(z.mean(axis=0), np.arange(5.0), atol=0.03)
  expected = stats.norm.logpdf(z, np.arange(5.0), 0.1).sum(axis=-1)
  np.testing.assert_allclose(
    jax.jit(both.log_prior)(pair, small("layers")[2], (top[None], below[None]))[0], expected, rtol=1e-4
  )


def test_codes_are_looked_up_and_recognised():
  vae, state, batch = small("codes")
  assert shape_of(vae) == (2, 2, 1)
  algorithm, fitted = fresh("autoregressive", (2, 2, 1), num_codes=3, channels=4, layers=1)
  both, pair = put("codes", algorithm, fitted)
  of_maps = np.asarray(log_p(algorithm, fitted, np.float32(list(itertools.product(range(3), repeat=4)))))
  rng = jax.random.key(2)

  @jax.jit
  def look(pair):
    (z,) = both.prior_sample(pair, rng, jnp.arange(6))
    return z, both.log_prior(pair, batch, (z[None],))[0], both.eval_step(pair, batch, rng)

  z, log_prior, metrics = look(pair)
  embedding = np.asarray(state.net.mutable["codebook"]["posterior"]["embedding"])
  same = np.all(np.asarray(z).reshape(6, 4, 1, 2) == embedding, axis=-1)
  assert np.all(same.sum(axis=-1) == 1)  # each position is an entry of the codebook, to the bit
  numbers = np.argmax(same, axis=-1) @ [27, 9, 3, 1]
  assert len(set(numbers)) > 3 and of_maps.std() > 0.01
  np.testing.assert_allclose(log_prior, of_maps[numbers], rtol=1e-5)
  found = {name: mean.total / mean.count for name, mean in metrics.items()}
  np.testing.assert_allclose(found["rate"], found["latent_nll"], rtol=1e-6)
  bits = -found["elbo"] / (16 * np.log(2.0))
  np.testing.assert_allclose(bits, found["latent_bits_per_dim"] + found["distortion"] / (16 * np.log(2.0)), rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 2])
def test_codes_given_a_label_are_drawn_and_bounded_for_it(steps):
  """The VAE itself is given nothing; in order, codes have a likelihood."""
  batch = small("codes")[2]
  settings = {"num_codes": 3, "width": 4, "heads": 2, "layers": 1, "steps": steps}
  algorithm, fitted = fresh("label", (2, 2, 1), **settings)
  both, pair = put("codes", algorithm, fitted)
  assert both.given == ("label",) and both.has_prior

  @jax.jit
  def look(pair, label):
    (z,) = both.prior_sample(pair, jax.random.key(2), jnp.arange(64), {"label": label})
    return both.decode(pair, (z,), {"label": label}), both.eval_step(
      pair, {**batch, "label": label[0] + jnp.zeros(8, int)}, jax.random.key(0)
    )

  (one, metrics), (other, others) = (look(pair, np.full(64, label)) for label in (1, 7))
  assert np.any(one != other) and metrics["latent_nll"].total != others["latent_nll"].total
  found = {name: mean.total / mean.count for name, mean in metrics.items()}
  np.testing.assert_allclose(found["rate"], found["latent_nll"], rtol=1e-6)
  z, _ = both.posterior_sample(pair, batch, jax.random.key(0), 1)
  if steps:
    with pytest.raises(ConfigError, match="this prior only bounds"):
      both.log_prior(pair, batch, z)
  else:
    of_labels = [np.asarray(both.log_prior(pair, {"label": np.full(8, label)}, z)) for label in (1, 7)]
    np.testing.assert_allclose(-of_labels[0].sum(), metrics["latent_nll"].total, rtol=1e-5)
    assert np.all(of_labels[0] != of_labels[1])


def test_a_second_stage_bounds_the_rate_and_is_no_likelihood():
  both, pair = put("plain", *fresh("two_stage", (1, 1, 3), width=4, layers=1), scale=2.0)
  metrics = jax.jit(both.eval_step)(pair, small("plain")[2], jax.random.key(0))
  assert np.isfinite(metrics["elbo"].total)
  with pytest.raises(ConfigError, match="this prior only bounds"):
    both.log_prior(pair, small("plain")[2], (jnp.zeros((1, 2, 3)),))


def test_densities_that_models_cannot_have():
  plain, codes = small("plain")[0], small("codes")[0]
  labelled = plain.network.clone(conditioning=Label(10))
  for vae, of_codes, message in (
    (dataclasses.replace(plain, network=labelled), False, "this model is given label"),
    (plain, True, "is one of codes, and this model has none"),
    (codes, False, "is one of real numbers.*use samplers:autoregressive"),
  ):
    with pytest.raises(ConfigError, match=message):
      check(vae, of_codes)
  check(plain, False)
  check(codes, True)
