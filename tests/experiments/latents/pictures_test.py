"""What the pictures of a VAE's latents are of: which z is decoded where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from common.errors import ConfigError
from experiments import build_algorithm
from experiments.latents.pictures import manifold, reconstructions, traversals
from experiments.loading import TrainedRun
from tests.tiny import config_of, dataset_of, fresh_state

VARIANT = "vae:digits,flax,tiny"


@functools.cache
def run_of(z_dim=3, **changes):
  """A run as it starts, its encoder scaled so that units have rates."""
  config = config_of(VARIANT, model__z_dim=z_dim, **changes)
  spec = dataset_of(VARIANT).spec
  algorithm = build_algorithm(config, spec)
  state = fresh_state(algorithm, VARIANT)
  bias = state.net.params["encoder"]["out"]["bias"].at[:z_dim].set(jnp.arange(1.0, z_dim + 1) % z_dim)
  params = jax.tree.map(lambda x: x, state.net.params)
  params["encoder"]["out"]["bias"] = bias
  return TrainedRun(config, spec, algorithm, state.replace(net=state.net.replace(params=params)), 0, ())


def decoded(run, z, given=None):
  return jax.jit(lambda s, z: run.algorithm.decode(s, (z,), given))(run.state, jnp.asarray(z, jnp.float32))


def test_traversals_move_one_unit_in_the_order_of_rates():
  """Means 1, 2, 0 of three units: the second first."""
  run, dataset = run_of(), dataset_of(VARIANT)
  pixels, lines = traversals(run, dataset, rows=2, columns=5)
  assert [line.split(",")[0] for line in lines] == ["row 0: unit 1", "row 1: unit 0"]
  rates = [float(line.split()[-2]) for line in lines]
  assert rates[0] > rates[1] > 0.3
  image = reconstructions(run, dataset, rows=1, columns=2)[:1]  # as the model sees the first
  mean, _ = jax.jit(run.algorithm.posterior_moments)(run.state, {"image": jnp.asarray(image), "index": jnp.arange(1)})
  z = np.repeat(np.asarray(mean), 10, axis=0)
  z[:5, 1] = z[5:, 0] = np.linspace(-3, 3, 5)
  np.testing.assert_allclose(pixels, decoded(run, z), rtol=1e-4, atol=1e-5)


def test_traversals_of_a_model_given_labels_keep_the_first_images_label():
  run, dataset = run_of(conditioning__name="concat"), dataset_of(VARIANT)
  pixels, _ = traversals(run, dataset, rows=1, columns=3)
  label = dataset.test.rows(np.arange(1))["label"]
  batch = {"image": jnp.asarray(reconstructions(run, dataset, rows=1, columns=2)[:1]), "index": jnp.arange(1)}
  mean, _ = jax.jit(run.algorithm.posterior_moments)(run.state, {**batch, "label": jnp.asarray(label)})
  z = np.repeat(np.asarray(mean), 3, axis=0)
  z[:, 1] = np.linspace(-3, 3, 3)
  np.testing.assert_allclose(pixels, decoded(run, z, {"label": jnp.full(3, label[0])}), rtol=1e-4, atol=1e-5)


def test_the_plane_is_at_normal_quantiles():
  run = run_of(z_dim=2)
  pixels = manifold(run, 4)
  low, high = stats.norm.ppf([0.125, 0.875])
  corners = decoded(run, [[low, high], [high, high], [low, low], [high, low]])  # up is up
  np.testing.assert_allclose(pixels[[0, 3, 12, 15]], corners, rtol=1e-4, atol=1e-6)


def test_reconstructions_stand_beside_their_test_images():
  run, dataset = run_of(), dataset_of(VARIANT)
  pixels = reconstructions(run, dataset, rows=2, columns=6)
  assert pixels.shape[0] == 12
  shown = np.asarray(dataset.test.rows(np.arange(6))["image"])
  assert set(np.unique(pixels[0::2])) == {0.0, 1.0} and np.corrcoef(pixels[0::2].ravel(), shown.ravel())[0, 1] > 0.5
  assert len(np.unique(pixels[1::2])) > 10


def test_what_a_model_cannot_show_is_refused():
  with pytest.raises(ConfigError, match="--show=manifold is for two latents"):
    manifold(run_of(), 4)
  with pytest.raises(ConfigError, match="each label has a plane of its own"):
    manifold(run_of(2, conditioning__name="concat"), 4)
  points = {"posterior": {"name": "deterministic"}, "prior": {"name": "none"}, "objective": {"name": "reconstruction"}}
  config = config_of(VARIANT, **points)
  run = TrainedRun(config, run_of().spec, build_algorithm(config, run_of().spec), None, 0, ())
  with pytest.raises(ConfigError, match="--show=traversals needs one layer"):
    traversals(run, dataset_of(VARIANT), 1, 2)
  other = TrainedRun(config, run_of().spec, build_algorithm(config_of("gan:digits,tiny"), run_of().spec), None, 0, ())
  with pytest.raises(ConfigError, match="has no posterior to show"):
    reconstructions(other, dataset_of(VARIANT), 1, 2)
