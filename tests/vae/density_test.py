"""p(x) of whole models: it sums to 1 over all images, and equals the closed form of a linear Gaussian one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.data.spec import Spec
from common.evaluation.metrics.importance import log_likelihood
from tests.vae.tiny_model import model_of

IMAGES = np.array([[int(bit) for bit in f"{i:04b}"] for i in range(16)], np.float32).reshape(16, 2, 2, 1)
SPEC = Spec((2, 2, 1), 10, 8, "images", (0.0, 1.0), "")
MLP = {"name": "mlp", "z_dim": 2, "width": 8, "layers": 1, "activation": "tanh"}
MODELS = {
  "plain": {},
  "inverse_autoregressive": {
    "posterior": {"name": "inverse_autoregressive", "steps": 2, "width": 8, "layers": 1, "context": 4}
  },
  "planar": {"posterior": {"name": "planar", "steps": 2}},
  "vampprior": {"prior": {"name": "vampprior", "components": 3, "mean": 0.5, "deviation": 0.5}},
  "flow": {"prior": {"name": "flow", "layers": 2, "width": 8}},
  "hvae, vampprior": {
    "model": {"name": "hvae", "z_dim": 2, "lower_z_dim": 3, "width": 8},
    "prior": {"name": "vampprior", "components": 3, "mean": 0.5, "deviation": 0.5},
  },
}


def moved(state):
  """The state with parameters off the identity that some start from, yet small: q must cover p for draws of q to do."""
  leaves, tree = jax.tree.flatten(state.net.params)
  rng = np.random.default_rng(0)
  params = [0.4 * leaf + 0.15 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
  return state.replace(net=state.net.replace(params=jax.tree.unflatten(tree, params)))


@pytest.mark.parametrize("name", MODELS)
def test_the_probabilities_of_all_images_sum_to_one(name):
  """Posterior, prior and likelihood at once: a wrong density of any would show."""
  algorithm, state, _ = model_of(SPEC, **{"model": MLP, **MODELS[name]})
  state, k = moved(state), 4000
  batch = {"image": IMAGES, "index": np.arange(16)}
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, jax.random.key(1), k=k, chunk=4000))
  p = np.exp(np.asarray(estimate(state, batch), np.float64))
  assert abs(p.sum() - 1.0) < 0.03 and p.std() > 1e-3, p.sum()


def test_given_a_label_the_probabilities_of_all_images_sum_to_one():
  """p(x|label), another one for each label: the encoder and the decoder are told it."""
  algorithm, state, _ = model_of(SPEC, model=MLP, conditioning={"name": "concat"})
  state = moved(state)
  batch = {"image": IMAGES, "index": np.arange(16)}
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, jax.random.key(1), k=4000, chunk=4000))
  p = [np.exp(np.asarray(estimate(state, {**batch, "label": np.full(16, label)}), np.float64)) for label in (0, 7)]
  assert all(abs(each.sum() - 1.0) < 0.03 for each in p) and np.abs(p[0] - p[1]).max() > 0.003
  mixed = {**batch, "label": np.arange(16) % 2 * 7}
  np.testing.assert_allclose(np.exp(estimate(state, mixed)), np.where(mixed["label"], p[1], p[0]), rtol=1e-4)


def test_the_nll_of_a_linear_gaussian_vae_is_exact():
  """x = W z + b + sigma noise: p(x) = N(b, W W^T + sigma^2) (Tipping & Bishop 1999)."""
  model = {"name": "mlp", "z_dim": 2, "width": 1, "layers": 0}
  likelihood = {"name": "gaussian", "sigma": 0.7, "squash": False}
  algorithm, state, _ = model_of(SPEC, model=model, likelihood=likelihood)
  state = moved(state)
  x = np.random.default_rng(1).normal(size=(6, 2, 2, 1)).astype(np.float32)
  batch, rng = {"image": x, "index": jnp.arange(6)}, jax.random.key(1)
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, rng, k=20_000, chunk=4000))
  decoder = {name: np.asarray(leaf, np.float64) for name, leaf in state.net.params["decoder"]["out"].items()}
  covariance = decoder["kernel"].T @ decoder["kernel"] + 0.49 * np.eye(4)
  exact = stats.multivariate_normal.logpdf(x.reshape(6, 4), decoder["bias"], covariance)
  np.testing.assert_allclose(estimate(state, batch), exact, atol=0.05)
  terms = jax.jit(lambda s, x: algorithm.bound_terms(s, x, jax.random.key(2), 2000))(state, batch)
  elbo = -np.mean(terms[0] + terms[1]["z"], axis=0)
  assert np.all(elbo < exact)


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


def test_labels_reach_the_encoder_and_the_decoder():
  algorithm, state, batch = model_of(conditioning={"name": "concat"})
  other = {**batch, "label": (batch["label"] + 1) % 10}
  key = jax.random.key(1)
  variables = state.net.variables()
  terms = [jax.jit(lambda b=b: algorithm._terms(variables, b, key, train=False)[0])() for b in (batch, other)]
  assert not np.allclose(terms[0].moments["z"][0], terms[1].moments["z"][0])
  z = (jnp.zeros((8, 3)),)
  images = [jax.jit(algorithm.decode)(state, z, b["label"]) for b in (batch, other)]
  assert not np.allclose(*images)
  with pytest.raises(ValueError, match="it needs labels"):
    algorithm.decode(state, z)
