"""How varied pictures are, against hand counts; and that planted failures are flagged and their sound twins are not."""

import dataclasses
import json
from contextlib import closing

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.dataset import open_dataset
from common.evaluation.validation import evaluated_run
from common.parallel import compile_step, make_mesh
from common.training.log import Status
from common.training.program import Program
from common.types import Mean
from experiments import build_algorithm
from gan.health import alarms, answers, summarize, variety
from gan.losses import LOSSES
from tests.tiny import config_of

on_one_device = jax.jit(lambda real, fake, mask: variety(real, fake, mask, None))


REAL = (0, 1, 10, 11, 20, 9, 30, 22)
FAKE = (8, 99, 9, 99, 11, 99, 12, 99)


def means_of(real, fake, mask=None):
  mask = np.ones(len(real), np.float32) if mask is None else mask
  sums = on_one_device(*(np.asarray(x, np.float32).reshape(len(real), 1, 1, -1) for x in (real, fake)), mask)
  return {name: float(mean.total / mean.count) for name, mean in sums.items()}


def test_distances_and_finds_on_a_line():
  """Rows 0, 2, .. are looked for, at 0, 10, 20, 30; the real ones between them find 0, 10, 20; all fakes only 10."""
  means = means_of(REAL, FAKE)
  assert means["real_distance"] == pytest.approx(100 / 6, rel=1e-4)  # of 6 pairs: 3 x 10 + 2 x 20 + 30
  assert means["fake_distance"] == pytest.approx((1 + 3 + 4 + 2 + 3 + 1) / 6, rel=1e-4)
  assert (means["found_by_real"], means["found_by_fake"]) == (0.75, 0.25)
  scores = summarize(means)
  assert scores["pixel_diversity"] == pytest.approx(14 / 100, rel=1e-4)
  assert scores["pixel_coverage"] == pytest.approx(1 / 3)


def test_padding_is_neither_found_nor_finds():
  """Unmasked, its 1 would be found in place of 0, and its 30s would find 30."""
  mask = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], np.float32)
  assert means_of([*REAL, 1, 30], [*FAKE, 30, 99], mask) == pytest.approx(means_of(REAL, FAKE), rel=1e-5)


def test_the_same_distribution_covers_all_and_k_of_n_modes_a_part():
  """As many rows look as are looked for, so near one another each is found with 1 - 1/e; at k of n modes n / k look."""
  rng = np.random.default_rng(0)
  centers = rng.normal(size=(8, 30)) * 5

  def draw(modes):
    return centers[rng.integers(modes, size=512)] + rng.normal(size=(512, 30)) * 0.1

  for modes in (8, 4, 1):
    batches = [means_of(draw(8), draw(modes)) for _ in range(6)]
    scores = summarize({name: np.mean([means[name] for means in batches]) for name in batches[0]})
    expected = modes / 8 * (1 - np.exp(-8 / modes)) / (1 - np.exp(-1))
    assert scores["pixel_coverage"] == pytest.approx(expected, abs=0.06), modes
    assert modes < 8 or scores["pixel_diversity"] == pytest.approx(1.0, abs=0.03)


def test_devices_judge_the_global_batch():
  rng = np.random.default_rng(0)
  real, fake = rng.normal(size=(2, 32, 1, 1, 3)).astype(np.float32)
  mask = (np.arange(32) < 29).astype(np.float32)
  mesh = make_mesh(8)

  def step(state, data, batch):
    return (), variety(batch["real"], batch["fake"], batch["mask"], "data")

  run = compile_step(step, mesh, "shard_map", batch_axis=0, donate=False)
  sums = run((), (), {"real": real, "fake": fake, "mask": mask})[1]
  assert {k: float(v.total / v.count) for k, v in sums.items()} == pytest.approx(means_of(real, fake, mask), rel=1e-5)


def test_draws_for_one_input_are_compared_with_their_error():
  """Distances 5 and 10 of the two rows that count; draws that differ by less than 1 % of the error are flagged."""
  image, fake, other = (np.zeros((3, 1, 1, 2), np.float32) for _ in range(3))
  fake[:2, 0, 0] = [[3.0, 4.0], [6.0, 8.0]]
  other[:2] = 0.8 * fake[:2]
  other[2] = 99.0
  sums = answers(image, fake, other, np.array([1.0, 1.0, 0.0], np.float32))
  means = {name: float(mean.total / mean.count) for name, mean in sums.items()}
  assert means == pytest.approx({"draw_distance": 1.5, "image_distance": 7.5}, rel=1e-5)
  assert summarize(means) == pytest.approx({"draw_diversity": 0.2}, rel=1e-5)
  sets = [alarms(LOSSES["hinge"](), 1.0, draws=draws) for draws in (True, False)]
  (rule,), none = ([alarm for alarm in found if "validation/draw_diversity" in alarm.metrics] for found in sets)
  assert none == []
  assert [bool(rule.rule(np.full(3, x), np.ones(3))) for x in (0.009, 0.011)] == [True, False]


def test_two_pictures_have_no_pair_and_one_has_nothing():
  sums = variety(*[jnp.ones((2, 1, 1, 2))] * 2, jnp.ones(2), None)
  assert float(sums["real_distance"].count) == 0 and isinstance(sums["found_by_real"], Mean)
  assert variety(*[jnp.ones((1, 1, 1, 2))] * 2, jnp.ones(1), None) == {}
  assert summarize({"d_loss": 1.0, "found_by_real": 1.0, "found_by_fake": 0.5}) == {"pixel_coverage": 0.5}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_rules_on_ds_loss_are_those_of_its_kind(name, scale):
  """Of logits: a D that is always right wins (but a Wasserstein critic does not), one that is wrong loses."""
  loss = LOSSES[name]()
  rules = {alarm.signal.partition(":")[0]: alarm for alarm in alarms(loss, scale)}

  def raised(margin):
    real, fake = (loss.boundary or 0.0) + margin, (loss.boundary or 0.0) - margin
    d_loss = scale * float(loss.discriminator(jnp.asarray(real), jnp.asarray(fake)))
    read = {"train/d_loss": d_loss, "train/d_real_logit": real, "train/d_fake_logit": fake}
    ours = [alarm for signal, alarm in rules.items() if signal in ("D is winning", "D is losing")]
    return {a.signal.partition(":")[0] for a in ours if a.rule(*[np.full(5, read.get(m, 1.0)) for m in a.metrics])}

  sure = 0.5 if name == "least_squares" else 8.0  # where D is at its target, or beyond
  assert raised(sure) == (set() if name == "wasserstein" else {"D is winning"})
  assert raised(-0.2 if name == "least_squares" else -0.5) == {"D is losing"}
  assert raised(0.1) == raised(0.0) == set()
  assert ("D is winning" in rules) == (name != "wasserstein")


def pace_alarms(d, g):
  """The pace alarms of D's and G's update norms on five lines, over parameters of norm 1."""
  ones = np.ones(5)
  rules = alarms(LOSSES["hinge"](), 1.0)
  norms = [alarm for alarm in rules if "train/d_update_norm" in alarm.metrics]
  return {alarm.signal[:14] for alarm in norms if alarm.rule(np.array(d), ones, np.array(g), ones)}


def test_rules_on_the_pace():
  assert pace_alarms([0.004] * 5, [0.004] * 5) == set()
  assert pace_alarms([0.03] * 5, [0.004] * 5) == {"D moves in lea"}
  assert pace_alarms([0.03] * 5, [0.03] * 5) == set()  # both fast: their learning rates, or small weights
  assert pace_alarms([0.004] * 5, [0.0001] * 5) == set()  # a G that waits for a D
  assert pace_alarms([0.0004, 0.0006, 0.0013, 0.0055, 0.06], [0.0, 0.0, 0.0, 0.0, 0.02]) == set()  # one leap
  assert pace_alarms([1e-7] * 5, [0.004] * 5) == {"D stands still"}
  assert pace_alarms([0.0] * 5, [0.0] * 5) == set()  # a schedule that ended


class FewModes(nn.Module):
  """A generator that sees only which of ``modes`` sectors z lies in."""

  inner: nn.Module
  modes: int

  def __call__(self, z, *, train):
    sector = jnp.floor(self.modes * (jnp.arctan2(z[:, 1], z[:, 0]) / (2 * jnp.pi) + 0.5))
    angle = 2 * jnp.pi * sector / self.modes
    return self.inner(2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1), train=train)


def adam(learning_rate):
  return {"name": "adam", "learning_rate": learning_rate, "b1": 0.5, "b2": 0.99}


def signals_of(workdir, steps, modes=0, **changes):
  """{first words of the alarms of a small run on eight Gaussians: the first step}."""
  changes = {"train__num_steps": steps, "checkpoint__every": steps, "evaluate__every": 500, **changes}
  changes = {"train__batch_size": 32, "log__every": 100, "samples__every": 0, **changes}
  config = config_of("gan:gaussians8", data__validation_split="validation[:512]", **changes)
  config.generator.width, config.discriminator.width = 48, 24
  dataset = open_dataset(config.data)
  gan = build_algorithm(config, dataset.spec)
  if modes:
    network = gan.generator._replace(module=FewModes(gan.generator.module, modes))
    gan = dataclasses.replace(gan, generator=network)
  program = Program(gan, dataset, config, make_mesh(1))
  with closing(evaluated_run(program, workdir, Status(enabled=False))) as run:
    run.run()
  lines = [json.loads(line) for line in (workdir / "alarms.jsonl").read_text().splitlines()]
  assert len({line["signal"] for line in lines}) == len(lines), lines
  return {line["signal"].partition(":")[0]: line["step"] for line in lines}


def test_a_sound_run_raises_nothing(tmp_path):
  assert signals_of(tmp_path, 2000) == {}


def test_a_frozen_discriminator_is_flagged(tmp_path):
  signals = signals_of(tmp_path, 600, evaluate__every=0, discriminator_optim=adam(1e-9))
  assert signals["D is losing"] <= 600 and signals["D stands still"] <= 600


def test_a_discriminator_with_twenty_times_its_learning_rate_is_flagged(tmp_path):
  (signal,) = signals_of(tmp_path, 600, evaluate__every=0, discriminator_optim=adam(4e-2))
  assert signal == "D moves in leaps"


def test_a_generator_of_two_modes_is_flagged(tmp_path):
  assert signals_of(tmp_path, 2000, modes=2)["mode collapse"] <= 2000
