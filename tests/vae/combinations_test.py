"""Every pair of choices of a VAE fits together in some row of a covering array, or is refused with both its names.

Rows are traced: the step, the evaluation, and draws of the prior. The first rows, which have every value between them,
also take a step.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.degradations import DEGRADATIONS
from common.errors import ConfigError
from experiments import choices
from tests.tiny import filled
from tests.vae.tiny_model import SPEC, config_of_model, model_of
from vae.from_config import check

SMALL = {
  "model": {
    "mlp": {"z_dim": 4, "width": 8},
    "gated_mlp": {"z_dim": 4, "width": 8},
    "conv": {"z_dim": 4, "channels": (4,), "batch_norm": True},
    "infogan": {"z_dim": 4, "width": 2, "hidden": 8},
    "resnet": {"z_dim": 4, "width": 4, "hidden": 2, "halvings": 1},
    "unet": {"z_dim": 4, "channels": (4, 8), "blocks": 1},
    "hvae": {"z_dim": 4, "lower_z_dim": 4, "width": 8},
    "conv_hvae": {"z_dim": 4, "lower_z_dim": 4, "width": 8, "channels": 2},
  },
  "posterior": {
    "diagonal_gaussian": {"log_var_range": (-6.0, 2.0)},
    "inverse_autoregressive": {"steps": 2, "width": 8, "layers": 1, "context": 4},
    "planar": {"steps": 2},
    "deterministic": {},
    "vector_quantized": {"num_codes": 3, "code_dim": 2, "restart": 0.1, "kmeans_steps": 1},
    "finite_scalar": {"levels": (3, 2)},
  },
  "prior": {
    "standard_normal": {},
    "conditional_normal": {"hidden": 4, "sigma_mu": 10.0, "sigma_sigma": 0.1},
    "vampprior": {"components": 3},
    "uniform_codes": {},
    "none": {},
  },
  "objective": {
    "elbo": {"beta": {"name": "linear", "start": 0.5, "end": 1.0, "steps": 10}},
    "capacity": {"capacity": 1.0},
    "importance_weighted": {"draws": 2},
    "importance_weighted doubly": {"name": "importance_weighted", "draws": 2, "gradient": "doubly"},
    "info_vae": {},
    "wae": {},
    "reconstruction": {},
    "rae": {"z_weight": 0.1, "regularizer": "gradient", "weight": 0.1},
  },
  "likelihood": {
    "bernoulli": {},
    "gaussian": {},
    "shared_gaussian": {},
    "laplace": {"scale": 1.0},
    "discretized_logistic": {},
  },
  "conditioning": {"none": {}, "concat": {}, "text": {"width": 4, "layers": 1, "heads": 1}, "seen": {}},
  "corruption": {"none": {}, "gaussian": {}, "masking": {}},
}
RULED = ("model", "posterior", "prior", "objective", "conditioning")  # the others go with everything on images


def section(axis, name):
  return {"name": name, **SMALL[axis][name]}


def sections(row):
  return {axis: section(axis, name) for axis, name in row.items()}


def refusal(config, spec=SPEC):
  """What `check` says of a config; empty where it is legal."""
  try:
    check(config, spec)
  except ConfigError as error:
    return str(error)
  return ""


@functools.cache
def legal_rows():
  config = config_of_model(**sections({"likelihood": "bernoulli", "corruption": "none"}))

  def legal(row):
    for axis, value in sections(row).items():
      config[axis] = value
    return not refusal(config)

  rows = (dict(zip(RULED, names, strict=True)) for names in itertools.product(*(SMALL[axis] for axis in RULED)))
  return [row for row in rows if legal(row)]


def pairs_of(row):
  """The network that restores goes with others as the convolutional one does, so that one row stands for it."""
  pairs = itertools.combinations_with_replacement(((axis, row[axis]) for axis in RULED), 2)
  return frozenset(pair for pair in pairs if row["model"] != "unet" or pair[0] == pair[1])


def greedy(rows, parts_of):
  """Rows until they have all parts of all rows between them, those with the most new parts first."""
  missing, chosen = set().union(*map(parts_of, rows)), []
  while missing:
    chosen.append(max(rows, key=lambda row: len(missing & parts_of(row))))
    missing -= parts_of(chosen[-1])
  return chosen


@functools.cache
def array():
  """(rows that have every value, further rows): legal ones that have every pair of some legal row between them."""
  rows = greedy(legal_rows(), pairs_of)
  for i, row in enumerate(rows):  # the free axes in turn
    free = {axis: list(SMALL[axis]) for axis in SMALL if axis not in RULED}
    rows[i] = row | {axis: names[i % len(names)] for axis, names in free.items()}
  first = greedy(rows, lambda row: set(row.items()))
  return first, [row for row in rows if row not in first]


def all_of(algorithm, state, batch):
  """A step, an evaluation, and images of draws from the prior."""
  after, metrics = algorithm.train_step(state, batch, jax.random.key(1))
  found = algorithm.eval_step(after, batch, jax.random.key(2))
  images = jnp.zeros(())
  if algorithm.has_prior:
    given = {name: batch[name][:3] for name in algorithm.given} or None
    z = algorithm.prior_sample(after, jax.random.key(3), jnp.arange(3), given)
    images = algorithm.decode(after, z, given)
  return after, metrics, found, images


def test_every_choice_has_settings_here_and_is_in_a_row():
  first, further = array()
  for axis, names in SMALL.items():
    # Those of corruption have tests of their own, and vqgan is as resnet to all that is ruled here.
    known = set(choices("vae")[axis]) - set(DEGRADATIONS) - {"vqgan"}
    assert {section(axis, name)["name"] for name in names} == known
    assert {row[axis] for row in first} == set(names)
  assert len(first) <= 12 and len(first) + len(further) <= 60


@pytest.mark.parametrize("number", range(11))
def test_a_row_takes_a_step_that_moves_every_parameter(number):
  row = array()[0][number]
  algorithm, state, batch = model_of(compiled=False, **sections(row))
  state = filled(jax.eval_shape(state))
  after, metrics = jax.jit(algorithm.train_step)(state, batch, jax.random.key(1))
  for name, mean in metrics.items():
    assert np.all(np.isfinite(mean.total)), (row, name)
  assert int(after.net.updates) == 1
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(after.net)), row
  changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.net.params, after.net.params)
  still = [jax.tree_util.keystr(path) for path, moved in jax.tree_util.tree_leaves_with_path(changed) if not moved]
  # The decoder's first BatchNorm takes a constant in z away again; nothing else holds it where only pixels count.
  free = ["['encoder']['stats']['bias']"] if (row["model"], row["objective"]) == ("infogan", "reconstruction") else []
  assert still in ([], free), (row, still)
  if row["posterior"] == "vector_quantized":
    before, now = (net.mutable["codebook"]["posterior"]["embedding"] for net in (state.net, after.net))
    assert np.any(before != now)


def test_all_rows_are_trained_evaluated_and_drawn_from():
  for row in itertools.chain(*array()):
    algorithm, state, batch = model_of(compiled=False, **sections(row))
    shapes = jax.eval_shape(state)
    after, *_ = jax.eval_shape(functools.partial(all_of, algorithm), shapes, batch)
    assert jax.tree.structure(after) == jax.tree.structure(shapes), row
