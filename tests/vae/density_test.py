"""p(x) of whole models: it sums to 1 over all images, and equals the closed form of a linear Gaussian one."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.data.spec import Spec
from common.evaluation.metrics.importance import log_likelihood
from tests.vae.tiny_model import model_of, seen_of
from vae.conditioning import Values

IMAGES = np.array([[int(bit) for bit in f"{i:04b}"] for i in range(16)], np.float32).reshape(16, 2, 2, 1)
SPEC = Spec((2, 2, 1), 10, 8, "images", (0.0, 1.0), "")
MLP = {"name": "mlp", "z_dim": 2, "width": 8, "layers": 1, "activation": "tanh"}
VAMP = {"name": "vampprior", "components": 3, "mean": 0.5, "deviation": 0.5}
MODELS = {
  "plain": {},
  "inverse_autoregressive": {
    "posterior": {"name": "inverse_autoregressive", "steps": 2, "width": 8, "layers": 1, "context": 4}
  },
  "planar": {"posterior": {"name": "planar", "steps": 2}},
  "vampprior": {"prior": VAMP},
  "hvae, vampprior": {"model": {"name": "hvae", "z_dim": 2, "lower_z_dim": 3, "width": 8}, "prior": VAMP},
  "labels": {"conditioning": {"name": "concat"}},
}


def moved(state):
  """The state with parameters off the identity that some start from, yet small: q must cover p for draws of q to do."""
  leaves, tree = jax.tree.flatten(state.net.params)
  rng = np.random.default_rng(0)
  params = [0.4 * leaf + 0.15 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
  return state.replace(net=state.net.replace(params=jax.tree.unflatten(tree, params)))


@pytest.mark.parametrize("name", MODELS)
def test_the_probabilities_of_all_images_sum_to_one(name):
  """Posterior, prior and likelihood at once: a wrong density of any would show. Each label has its own p(x)."""
  algorithm, state, _ = model_of(SPEC, **{"model": MLP, **MODELS[name]})
  state, batch = moved(state), {"image": IMAGES, "index": np.arange(16)}
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, jax.random.key(1), k=4000, chunk=4000))
  p = [np.exp(np.asarray(estimate(state, {**batch, "label": np.full(16, y)}), np.float64)) for y in (0, 7)]
  assert all(abs(each.sum() - 1.0) < 0.03 and each.std() > 1e-3 for each in p)
  assert (np.abs(p[0] - p[1]).max() > 0.003) == (algorithm.given == ("label",))
  mixed = {**batch, "label": np.arange(16) % 2 * 7}
  np.testing.assert_allclose(np.exp(estimate(state, mixed)), np.where(mixed["label"], p[1], p[0]), rtol=1e-4)


def test_the_probabilities_of_all_fillings_of_a_hole_sum_to_one():
  """Each of what may be seen has its own p(hole|seen): of the proposal, the prior network and a masked likelihood."""
  model = {"name": "unet", "z_dim": 2, "channels": (4, 4), "blocks": 1}
  sections = {"model": model, "conditioning": {"name": "seen"}, "prior": {"name": "conditional_normal", "hidden": 8}}
  algorithm, state, _ = model_of(SPEC, **sections)
  batch = {"image": jnp.asarray(IMAGES), "seen": seen_of(jnp.asarray(IMAGES)), "index": jnp.arange(16)}
  params = jax.tree.map(lambda p: 2.0 * p, moved(state).net.params)  # else what is seen hardly matters
  state = state.replace(net=state.net.replace(params=params))
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, jax.random.key(1), k=4000, chunk=4000))
  p = np.exp(np.asarray(estimate(state, batch), np.float64))
  # Pixel (row, column) is bit 2 row + column, and column 0 is the hole.
  p = p.reshape(2, 2, 2, 2)
  np.testing.assert_allclose(p.sum(axis=(0, 2)), 1.0, atol=0.03)
  assert np.abs(p[:, 0] - p[:, 1]).max() > 0.03


class HoleAlone(nn.Module):
  """Says where the hole is, and gives networks nothing."""

  rows = ("seen",)

  def __call__(self, given, keys=None):
    return Values(hole=given["seen"][..., 1:] > 0.5, known=given["seen"][..., :1])


@pytest.mark.parametrize("hole", [False, True])
def test_the_nll_of_a_linear_gaussian_vae_is_exact(hole):
  """x = W z + b + sigma noise: p(x) = N(b, W W^T + sigma^2) (Tipping & Bishop 1999); of a hole, its rows alone."""
  model = {"name": "mlp", "z_dim": 2, "width": 1, "layers": 0}
  likelihood = {"name": "gaussian", "sigma": 0.7, "squash": False}
  algorithm, state, _ = model_of(SPEC, model=model, likelihood=likelihood)
  state = moved(state)
  x = np.random.default_rng(1).normal(size=(6, 2, 2, 1)).astype(np.float32)
  batch, rng = {"image": x, "index": jnp.arange(6), "seen": seen_of(jnp.asarray(x))}, jax.random.key(1)
  if hole:
    algorithm = dataclasses.replace(algorithm, network=algorithm.network.clone(conditioning=HoleAlone()))
  estimate = jax.jit(lambda s, x: log_likelihood(algorithm, s, x, rng, k=20_000, chunk=4000))
  decoder = {name: np.asarray(leaf, np.float64) for name, leaf in state.net.params["decoder"]["out"].items()}
  covariance = decoder["kernel"].T @ decoder["kernel"] + 0.49 * np.eye(4)
  part = [0, 2] if hole else [0, 1, 2, 3]  # the left column
  mean, covariance = decoder["bias"][part], covariance[np.ix_(part, part)]
  exact = stats.multivariate_normal.logpdf(x.reshape(6, 4)[:, part], mean, covariance)
  np.testing.assert_allclose(estimate(state, batch), exact, atol=0.05)
  terms = jax.jit(lambda s, x: algorithm.bound_terms(s, x, jax.random.key(2), 2000))(state, batch)
  assert np.all(-np.mean(terms[0] + terms[1]["z"], axis=0) < exact)
