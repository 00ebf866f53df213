"""Every pair of settings of a GAN fits together in some row of `covering_array`, or is refused with both its names."""

import itertools
import random
import re

import jax
import numpy as np
import pytest

from common.errors import ConfigError
from gan import legality
from gan.from_config import from_config
from tests.gan.covering_array import (
  BASE,
  CLIP,
  COMPILED,
  FACTORS,
  PLAYERS,
  RECIPES,
  TRACED,
  VALUES,
  array,
  config_and_spec,
  illegal_pairs,
  runs,
  wanted,
)
from tests.tiny import filled


def prepared(row):
  """(config, gan, state, its batches of 4)."""
  config, spec = config_and_spec(row)
  gan = from_config(config, spec)
  draw, lead = np.random.default_rng(0), (gan.batches_per_step, 4)
  batch = {
    "image": draw.uniform(-1.0, 1.0, (*lead, *spec.image_shape)).astype(np.float32),
    "label": np.arange(4 * lead[0], dtype=np.int32).reshape(lead) % 3,
    "index": np.broadcast_to(np.arange(4, dtype=np.int32), lead),
  }
  state = filled(jax.eval_shape(gan.init, jax.random.key(0), batch))
  return config, gan, state.replace(waited=np.int32(9)), batch  # updates of D: enough for a warm-up


def read_by_alarms(gan):
  """What they read of training; a metric that is never logged would keep its alarm silent."""
  names = {name for alarm in gan.alarms for name in alarm.metrics}
  return {name.removeprefix("train/") for name in names if name.startswith("train/")}


def moved(before, after):
  """The share of the parameter arrays that are others than they were."""
  return np.mean([np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (before.params, after.params)), strict=True)])


@pytest.mark.parametrize(
  "number",
  [*range(COMPILED), *(pytest.param(n, marks=pytest.mark.slow) for n in range(COMPILED, COMPILED + TRACED))],
)
def test_a_row_takes_a_step(number):
  row = array()[0][number]
  config, gan, before, batch = prepared(row)
  step = jax.jit(gan.train_step)
  first, _ = step(before, batch, jax.random.key(1))
  # Spectral vectors are of their kernels only now, as those of `init` are.
  warm = {name: getattr(before, name).replace(mutable=getattr(first, name).mutable) for name in PLAYERS}
  after, metrics = step(before.replace(**warm), batch, jax.random.key(1))
  for path, leaf in jax.tree_util.tree_leaves_with_path((after, metrics)):
    assert np.all(np.isfinite(leaf)), (jax.tree_util.keystr(path), row)
  assert (int(after.generator.updates), int(after.discriminator.updates)) == (1, config.n_critic)
  # A constant added to an uncentred critic changes nothing, and a rectifier may be off on all four images.
  assert min(moved(getattr(before, name), getattr(after, name)) for name in PLAYERS) > 0.6, row
  assert {f"d_{name}" for name in config.penalties} <= metrics.keys()
  assert read_by_alarms(gan) <= metrics.keys()
  for name in config.penalties:
    assert metrics[f"d_{name}"].total != 0.0, (name, row)
  assert ("g_orthogonal" in metrics) == bool(config.generator_orthogonal)
  if config.weight_clip:
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(after.discriminator.params)) <= np.float32(CLIP)


@pytest.mark.parametrize("number", range(COMPILED, COMPILED + TRACED))
def test_a_row_fits_together(number):
  _, gan, state, batch = prepared(array()[0][number])
  after, metrics = jax.eval_shape(gan.train_step, state, batch, jax.random.key(1))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
  assert read_by_alarms(gan) <= metrics.keys()


def test_the_rows_have_every_legal_pair():
  rows, possible, impossible = array()
  assert len(rows) == COMPILED + TRACED, f"COMPILED + TRACED is to be {len(rows)}"
  assert possible == set().union(*map(wanted, rows))
  assert {pair for pair in possible if runs(pair)} == {
    pair for row in rows[:COMPILED] for pair in wanted(row) if runs(pair)
  }, "COMPILED is another number"
  assert not any(legality.illegal(*config_and_spec(row)) for row in rows)
  assert all(recipe.items() <= row.items() for recipe, row in zip(RECIPES, rows, strict=False))
  in_rows = {(factor, value) for row in rows[:COMPILED] for factor, value in row.items()}
  assert in_rows == set(VALUES)
  # Labels by embedding need R3GAN, which is for squares.
  assert impossible == {(("labels of G", "embedding"), ("shape", shape)) for shape in ("12x12", "16x8 RGB", "points")}


def test_an_illegal_pair_is_refused_by_name():
  """With BASE's values for the rest, or where these clash too, among the lines."""
  for (one, other), line in illegal_pairs().items():
    config, spec = config_and_spec({**BASE, **dict((one, other))})
    with pytest.raises(ConfigError, match=r"^config\..* does not go with config\..*: .*; take "):
      from_config(config, spec)
    assert line in legality.illegal(config, spec)
    fields = {"data": "data.name|data.image_size"}
    for factor, value in (one, other):
      assert re.search(fields.get(factor, factor), line), line
      words = str(value).split()
      assert factor == "data" or value == "with" or any(w in line for w in (*words, "batch_norm=True")), line
  assert len(illegal_pairs()) > 100


def test_pairs_are_all_that_rules_speak_of():
  """Of the product of all values, 5,000 combinations: refused where, and only where, a pair of it is."""
  draw = random.Random(1)
  refused = 0
  for _ in range(5000):
    row = {factor: draw.choice(list(choices)) for factor, choices in FACTORS.items()}
    legal = not any(pair in illegal_pairs() for pair in itertools.combinations(row.items(), 2))
    assert (not legality.illegal(*config_and_spec(row))) == legal, row
    refused += not legal
  assert 0 < refused < 5000
