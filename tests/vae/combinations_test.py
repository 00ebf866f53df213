"""Every pair of settings of a VAE fits together in some row of a covering array, or is refused with both its names.

Rows are traced: the step, the evaluation, and draws of the prior. The first COMPILED of them take a step, and every
value is in one of those. A network meets posterior, labels and corruption in arrays of its own shapes, and all else in
z [B, Z] and nats [B], as a likelihood does: their other pairs are left out.
"""

import functools
import itertools
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import ConfigError
from common.legality import Data, clashes
from experiments import choices
from tests.tiny import filled
from tests.vae.tiny_model import SPEC, config_of_model, model_of
from vae import legality
from vae.from_config import from_config

COMPILED = 11
TRIES = 30  # rows that are tried for each that is taken
SMALL = {
  "model": {
    "mlp": {"z_dim": 4, "width": 8},
    "gated_mlp": {"z_dim": 4, "width": 8},
    "conv": {"z_dim": 4, "channels": (4,), "batch_norm": True},
    "infogan": {"z_dim": 4, "width": 2, "hidden": 8},
    "resnet": {"z_dim": 4, "width": 4, "hidden": 2, "halvings": 1},
    "hvae": {"z_dim": 4, "lower_z_dim": 4, "width": 8},
    "conv_hvae": {"z_dim": 4, "lower_z_dim": 4, "width": 8, "channels": 2},
  },
  "posterior": {
    "diagonal_gaussian": {"log_var_range": (-6.0, 2.0)},
    "inverse_autoregressive": {"steps": 2, "width": 8, "layers": 1, "context": 4},
    "planar": {"steps": 2},
    "deterministic": {},
    "vector_quantized": {"num_codes": 3, "code_dim": 2, "restart": 0.1, "kmeans_steps": 1},
  },
  "prior": {
    "standard_normal": {},
    "mixture": {"components": 3},
    "vampprior": {"components": 3},
    "flow": {"layers": 2, "width": 4},
    "uniform_codes": {},
    "none": {},
  },
  "objective": {
    "elbo": {"beta": {"name": "linear", "start": 0.5, "end": 1.0, "steps": 10}},
    "capacity": {"capacity": 1.0},
    "free_bits": {"nats": 0.1},
    "importance_weighted": {"draws": 2, "gradient": "doubly"},
    "info_vae": {},
    "info_vae without a rate": {"name": "info_vae", "alpha": 1.0},
    "wae": {},
    "reconstruction": {},
    "rae": {"z_weight": 0.1, "regularizer": "gradient", "weight": 0.1},
  },
  "likelihood": {
    "bernoulli": {},
    "continuous_bernoulli": {},
    "gaussian": {},
    "shared_gaussian": {},
    "optimal_gaussian": {},
    "discretized_logistic": {},
    "logistic_mixture": {"components": 2},
    "categorical": {},
  },
  "conditioning": {"none": {}, "concat": {}},
  "corruption": {"none": {}, "gaussian": {}, "masking": {}},
}


def section(axis, name):
  return {"name": name, **SMALL[axis][name]}


def row_of(names):
  return {axis: section(axis, name) for axis, name in names.items()}


def refused(names):
  """What the table says of a row, or of a part of one."""
  found = {f"{axis}.{key}": value for axis, name in names.items() for key, value in section(axis, name).items()}
  data = {"data.name": Data("digits", "images", 10), "data.dequantize": False}
  return clashes(legality.RULES, {**found, **data})


@functools.cache
def legal_pairs():
  """A value paired with itself stands for its being in some row."""
  values = [(axis, name) for axis in SMALL for name in SMALL[axis]]
  pairs = ((a, b) for a, b in itertools.combinations(values, 2) if a[0] != b[0] and meet((a, b)))
  return frozenset(pair for pair in (*pairs, *zip(values, values, strict=True)) if not refused(dict(pair)))


def meet(pair):
  axes = {axis for axis, _ in pair}
  if "model" in axes:
    return bool(axes & {"posterior", "conditioning", "corruption"})
  return not axes & {"likelihood", "corruption"}


def pairs_of(row):
  return set(itertools.combinations_with_replacement(((axis, row[axis]) for axis in SMALL), 2))


def completed(part, draw):
  """A legal row with the values of ``part``, by chance and backtracking; None where there is none."""
  if len(part) == len(SMALL):
    return part
  axis = next(axis for axis in SMALL if axis not in part)
  for name in draw.sample(list(SMALL[axis]), len(SMALL[axis])):
    if not refused({**part, axis: name}) and (found := completed({**part, axis: name}, draw)):
      return found
  return None


@functools.cache
def possible_pairs():
  """Of the legal pairs those that some row can have."""
  return frozenset(pair for pair in legal_pairs() if completed(dict(pair), random.Random(0)))


@functools.cache
def array():
  """Rows that have every possible pair between them; those with values that are new come first."""
  draw, rows, missing = random.Random(0), [], set(possible_pairs())
  while missing:
    pair = min(missing)
    tried = [completed(dict(pair), draw) for _ in range(TRIES)]
    best = max(tried, key=lambda row: len(missing & pairs_of(row)))
    missing -= pairs_of(best)
    rows.append(best)
  seen, ordered = set(), []
  while rows:
    best = max(rows, key=lambda row: len(set(row.items()) - seen))
    rows.remove(best)
    seen |= set(best.items())
    ordered.append(best)
  return ordered


def steps(row):
  """(the algorithm, its state, a batch, the step, what is drawn from it)."""
  algorithm, state, batch = model_of(compiled=False, **row_of(row))

  def all_of(state, batch):
    after, metrics = algorithm.train_step(state, batch, jax.random.key(1))
    found = algorithm.eval_step(after, batch, jax.random.key(2))
    images = jnp.zeros(())
    if algorithm.has_prior:
      z = algorithm.prior_sample(after, jax.random.key(3), jnp.arange(3))
      images = algorithm.decode(after, z, jnp.arange(3) if algorithm.conditional else None)
    return after, metrics, found, images

  return algorithm, state, batch, all_of


def test_every_choice_has_settings_here():
  for axis, names in SMALL.items():
    assert {section(axis, name)["name"] for name in names} == set(choices("vae")[axis])


def test_the_first_rows_have_every_value():
  values = {(axis, name) for axis in SMALL for name in SMALL[axis]}
  assert set().union(*(row.items() for row in array()[:COMPILED])) == values
  assert set().union(*map(pairs_of, array())) >= possible_pairs() and len(array()) <= 80


@pytest.mark.parametrize("number", range(COMPILED))
def test_a_row_takes_a_step(number):
  row = array()[number]
  algorithm, state, batch, all_of = steps(row)
  state = filled(jax.eval_shape(state))
  jax.eval_shape(all_of, state, batch)
  check_step(row, state, *jax.jit(algorithm.train_step)(state, batch, jax.random.key(1)))


@pytest.mark.slow
def test_every_row_takes_a_step_is_evaluated_and_drawn_from():
  for row in array():
    _, state, batch, all_of = steps(row)
    state = filled(jax.eval_shape(state))
    after, metrics, found, images = jax.jit(all_of)(state, batch)
    check_step(row, state, after, metrics)
    for name, mean in found.items():
      assert np.all(np.isfinite(mean.total)), (row, name)
    assert np.all(np.isfinite(images)), row


def check_step(row, state, after, metrics):
  """All is finite and every parameter has moved."""
  for name, mean in metrics.items():
    assert np.all(np.isfinite(mean.total)), (row, name)
  assert int(after.net.updates) == 1
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(after.net)), row
  changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.net.params, after.net.params)
  still = [jax.tree_util.keystr(path) for path, moved in jax.tree_util.tree_leaves_with_path(changed) if not moved]
  # The decoder's first BatchNorm takes a constant in z away again; nothing else holds it where only pixels count.
  free = ["['model']['stats']['bias']"] if (row["model"], row["objective"]) == ("infogan", "reconstruction") else []
  assert still in ([], free), (row, still)
  if row["posterior"] == "vector_quantized":
    before, now = (net.mutable["codebook"]["posterior"]["embedding"] for net in (state.net, after.net))
    assert np.any(before != now)


def test_the_other_rows_fit_together():
  for row in array()[COMPILED:]:
    _, state, batch, all_of = steps(row)
    after, *_ = jax.eval_shape(all_of, jax.eval_shape(state), batch)
    assert jax.tree.structure(after) == jax.tree.structure(jax.eval_shape(state)), row


def test_an_illegal_pair_is_refused_by_name():
  """Each rule bites for some pair of values, and from_config says so."""
  bitten = set()
  for names in itertools.chain.from_iterable(
    itertools.product(*([(axis, name) for name in SMALL[axis]] for axis in axes))
    for axes in itertools.combinations(SMALL, 2)
  ):
    for line in refused(dict(names)):
      fields = re.findall(r"config\.(\w+\.\w+)=", line.partition(":")[0])
      bitten.add(tuple(sorted(fields)))
      config = config_of_model(**row_of(dict(names)))
      with pytest.raises(ConfigError, match="does not go with"):
        from_config(config, SPEC)
  by_name = {tuple(sorted((rule.first, rule.second))) for rule in legality.RULES if not rule.second.startswith("data.")}
  assert bitten == by_name
