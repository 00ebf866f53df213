"""What is said of the units of z, and that a posterior that says nothing is flagged while its sound twin is not."""

import dataclasses
import json
from contextlib import closing

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from common.evaluation.validation import evaluated_run
from common.parallel import make_mesh
from common.training.log import Status
from common.training.program import Program
from experiments import build_algorithm
from tests.tiny import config_of, dataset_of
from tests.vae.tiny_model import model_of
from vae.health import look, summarize
from vae.model import Terms


def means_of(mean, log_var, log_var_range=(), mask=None, **figures):
  """`look`'s means for one Gaussian layer."""
  mask = jnp.ones(len(mean)) if mask is None else jnp.asarray(mask)
  moments = {"z": (jnp.asarray(mean)[None], jnp.asarray(log_var)[None])}
  figures = {name: jnp.asarray(value)[None] for name, value in figures.items()}
  terms = Terms(jnp.zeros((1, len(mean))), {}, jnp.zeros(()), {}, figures, (), moments, jnp.zeros(()))
  found = look(terms, jnp.full(len(mean), 3.0), log_var_range, mask)
  return {k: np.asarray(v.total / v.count) for k, v in found.items()}


def test_units_of_a_posterior():
  """KL to N(0, 1) of each unit; of three units one varies over the images, one is off and one is a constant."""
  mean = np.stack([np.array([1.0, -1.0, 1.0, -1.0]), np.zeros(4), np.full(4, 2.0)], axis=1)
  log_var = np.broadcast_to(np.array([-2.0, 0.0, 0.5]), (4, 3))
  means = means_of(mean, log_var)
  expected = [0.5 * (1 + np.exp(-2) - 1 + 2), 0.0, 0.5 * (4 + np.exp(0.5) - 1 - 0.5)]
  np.testing.assert_allclose(means["unit_rate"], expected, rtol=1e-5, atol=1e-7)
  assert "clipped_log_var" not in means
  found = summarize({**means, "distortion": 1.0})
  # Over all images' z: means 0, 0, 2, and variances 1 + e^-2, 1, e^0.5.
  assert found.pop("aggregate_mean") == pytest.approx(np.sqrt(4 / 3))
  assert found.pop("aggregate_variance") == pytest.approx((2 + np.exp(-2) + np.exp(0.5)) / 3)
  assert found == {"active_units": 1.0, "z_gain": 2.0}
  assert summarize({"elbo": -1.0}) == {}


def test_the_activity_is_a_variance_above_its_threshold():
  units = {"unit_mean": [0.5, 0.5, 0.5], "unit_square": [0.25 + v for v in (0.0, 0.0099, 0.0101)]}
  assert summarize({**units, "unit_variance": [1.0, 1.0, 1.0]})["active_units"] == 1.0


def test_clipped_log_variances_are_counted_and_padding_is_not():
  log_var = np.array([[-6.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 2.0], [-6.0, -6.0, -6.0, -6.0]])
  means = means_of(np.zeros((3, 4)), log_var, (-6.0, 2.0), [1.0, 1.0, 0.0])
  assert means["clipped_log_var"] == pytest.approx(3 / 8)


def test_codes_of_a_split_are_counted_over_all_of_it():
  """Two images of two codes each: four in use over both, though each batch of one would say two."""
  usage = np.array([[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5, 0.0]])
  found = summarize({**means_of(np.zeros((2, 1)), np.zeros((2, 1)), code_usage=usage), "distortion": 0.0})
  assert found["codes_in_use"] == 4.0 and found["perplexity"] == pytest.approx(4.0)


def alarms_of(**changes):
  return model_of(compiled=False, **changes)[0].alarms


def test_which_alarms_a_posterior_has():
  signals = lambda **changes: [alarm.signal.partition(":")[0] for alarm in alarms_of(**changes)]  # noqa: E731
  ignores, collapse = "the decoder ignores z", "posterior collapse"
  assert signals() == [ignores, collapse, collapse]
  point = {"posterior": {"name": "deterministic"}, "prior": {"name": "none"}, "objective": {"name": "reconstruction"}}
  assert signals(**point) == [ignores]
  codes = {"posterior": {"name": "vector_quantized", "num_codes": 8, "code_dim": 1}, "prior": {"name": "uniform_codes"}}
  assert signals(**codes) == [ignores, "dead codes"]
  dead = alarms_of(**codes)[-1]
  assert dead.rule(np.array([3.0, 2.0]), None) and not dead.rule(np.array([3.0, 4.0]), None)
  clips = {"posterior": {"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}}
  *others, clipped = alarms_of(**clips)
  assert len(others) == 3
  assert clipped.rule(np.array([0.3, 0.4])) and not clipped.rule(np.array([0.3, 0.2]))


def test_log_variances_are_judged_where_a_warm_up_rests_above_0():
  warm_up = {"name": "elbo", "beta": {"name": "linear", "start": 0.0, "end": 1.0, "steps": 50_000}}
  clips = {"name": "diagonal_gaussian", "log_var_range": (-6.0, 2.0)}
  warmed = alarms_of(posterior=clips, objective=warm_up)[-1]
  assert warmed.metrics == ("validation/clipped_log_var", "train/beta")
  judged = [bool(warmed.rule(np.array([0.9, 0.9]), np.array(b))) for b in ([1, 1], [0.02, 0.04], [0, 1e-3], [0, 0])]
  assert judged == [True, False, False, False]


class IgnoresLatents(nn.Module):
  inner: nn.Module

  def __call__(self, z, y, *, train):
    return self.inner((jnp.zeros_like(z[0]),), y, train=train)


def signals_of(workdir, *, ignores_latents=False, beta=1.0):
  """The signals of the alarms of a small run, in words before a colon."""
  variant = "vae:digits,flax"
  changes = {"train__num_steps": 1100, "log__every": 100, "evaluate__every": 550, "checkpoint__every": 1100}
  changes |= {"train__batch_size": 32, "model__width": 32, "objective": {"name": "elbo", "beta": beta}}
  config, dataset = config_of(variant, samples__every=0, checkpoint__keep_best="", **changes), dataset_of(variant)
  vae = build_algorithm(config, dataset.spec)
  if ignores_latents:
    vae = dataclasses.replace(vae, network=vae.network.clone(decoder=IgnoresLatents(vae.network.decoder)))
  with closing(evaluated_run(Program(vae, dataset, config, make_mesh(1)), workdir, Status(enabled=False))) as run:
    run.run()
  lines = [json.loads(line) for line in (workdir / "alarms.jsonl").read_text().splitlines()]
  return [line["signal"].partition(":")[0] for line in lines]


def test_a_sound_run_raises_nothing(tmp_path):
  assert signals_of(tmp_path) == []


@pytest.mark.parametrize("plant", [{"beta": 100.0}, {"ignores_latents": True}], ids=str)
def test_a_collapsed_posterior_is_flagged(tmp_path, plant):
  """By its rate and by its units; and by a decoder that does not read z, not by one that reads what is noise."""
  indifferent = ["the decoder ignores z"] if "ignores_latents" in plant else []
  assert sorted(signals_of(tmp_path, **plant)) == ["posterior collapse"] * 2 + indifferent
