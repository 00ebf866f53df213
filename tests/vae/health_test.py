"""What is said of the units of z, and that a posterior that says nothing is flagged while its sound twin is not."""

import dataclasses
import json
from contextlib import closing

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from common.log import Status
from common.parallel import make_mesh
from common.program import Program
from common.trainer import Run
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of
from vae.health import alarms, summarize, units


def test_units_of_a_posterior():
  """KL to N(0, 1) of each unit; of three units one varies over the images, one is off and one is a constant."""
  mean = np.stack([np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4), np.full(4, 2.0)], axis=1)
  log_var = np.broadcast_to(np.array([-2.0, 0.0, 0.5]), (4, 3))
  mask = np.array([1.0, 1.0, 1.0, 1.0])
  means = {k: np.asarray(v.total / v.count) for k, v in units(*map(jnp.asarray, (mean, log_var)), (), mask).items()}
  expected = [0.5 * (1 + np.exp(-2) - 1 + 2), 0.0, 0.5 * (4 + np.exp(0.5) - 1 - 0.5)]
  np.testing.assert_allclose(means["unit_rate"], expected, rtol=1e-5, atol=1e-7)
  assert "clipped_log_var" not in means
  assert summarize(means) == {"active_units": 1.0}
  assert summarize({"elbo": -1.0}) == {}


def test_the_activity_is_a_variance_above_its_threshold():
  square = {"unit_mean": [0.5, 0.5, 0.5], "unit_square": [0.25 + v for v in (0.0, 0.0099, 0.0101)]}
  assert summarize(square) == {"active_units": 1.0}


def test_clipped_log_variances_are_counted_and_padding_is_not():
  log_var = jnp.array([[-6.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 2.0], [-6.0, -6.0, -6.0, -6.0]])
  sums = units(jnp.zeros((3, 4)), log_var, (-6.0, 2.0), jnp.array([1.0, 1.0, 0.0]))
  assert float(sums["clipped_log_var"].total / sums["clipped_log_var"].count) == pytest.approx(3 / 8)


def test_which_alarms_a_posterior_has():
  assert [len(alarms(gaussian=g, clips=c)) for g, c in ((False, False), (True, False), (True, True))] == [1, 2, 3]
  clipped = alarms(gaussian=True, clips=True)[-1]
  assert clipped.rule(np.array([0.3, 0.4])) and not clipped.rule(np.array([0.3, 0.2]))


class IgnoresLatents(nn.Module):
  inner: nn.Module

  def encode(self, x, *, train):
    return self.inner.encode(x, train=train)

  def decode(self, z, *, train):
    return self.inner.decode(jnp.zeros_like(z), train=train)


def collapses_of(workdir, *, ignores_latents=False, beta=1.0):
  """The steps of the alarms of a small run, all of which must be of posterior collapse."""
  variant = "vae:digits,flax"
  changes = {"train__num_steps": 1100, "log__every": 100, "evaluate__every": 550, "checkpoint__every": 1100}
  changes |= {"train__batch_size": 32, "model__width": 32, "objective": {"name": "elbo", "beta": beta}}
  config, dataset = config_of(variant, samples__every=0, checkpoint__keep_best="", **changes), dataset_of(variant)
  vae = build_algorithm(config, dataset.spec)
  if ignores_latents:
    vae = dataclasses.replace(vae, network=vae.network.clone(model=IgnoresLatents(vae.network.model)))
  with closing(Run(Program(vae, dataset, config, make_mesh(1)), workdir, Status(enabled=False), lambda f: f())) as run:
    run.run()
  lines = [json.loads(line) for line in (workdir / "alarms.jsonl").read_text().splitlines()]
  assert all(line["signal"].startswith("posterior collapse") for line in lines), lines
  return [line["step"] for line in lines]


def test_a_sound_run_raises_nothing(tmp_path):
  assert collapses_of(tmp_path) == []


@pytest.mark.parametrize("plant", [{"beta": 100.0}, {"ignores_latents": True}], ids=str)
def test_a_collapsed_posterior_is_flagged(tmp_path, plant):
  assert len(collapses_of(tmp_path, **plant)) == 2  # by its rate, and by its units
