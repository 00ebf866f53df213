"""Settings of a GAN in random legal combinations: each takes a step, and what cannot meet is refused.

A setting of several values (a network, a loss, the data) meets another of that kind in logits [B], images or labels,
which mean the same whatever they come from; tests of their own look at those. Here every value meets both values of
each switch: the game's, the penalties', clipping and averaging.
"""

import functools
import itertools
import random
import re

import jax
import numpy as np
import pytest

from common.data.spec import RowType, Spec
from common.errors import ConfigError
from gan.augment.augmentation import AUGMENTATIONS
from gan.from_config import from_config
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.penalties import PENALTIES
from tests.gan.networks.shapes import SMALL, attention_size
from tests.tiny import config_of, filled

COMPILED, TRACED = 13, 37  # rows
CLIP = 0.5
SGD = {"name": "sgd", "learning_rate": 0.1}
ADAM = {"name": "adam", "learning_rate": 0.1}
BATCH_NORM = ("dcgan", "infogan")
SLOPES = tuple(name for name in PENALTIES if name != "matching_aware")  # that one needs captions: text_test.py
SEEN = {"unet": {"widths": (2, 2), "blocks": 1}}  # generators that are given what is seen


def data(shape, kind="images", num_classes=3, seen=()):
  rows = (RowType("label", (), "int32"), *([RowType("seen", seen, "float32")] if seen else []))
  return {"spec": Spec(shape, num_classes, 100, kind, (-1.0, 1.0), "", rows=rows)}


# {factor: {value: what it changes in the config}}; those of two values are switches.
FACTORS = {
  "loss": {name: {"loss": {"name": name}} for name in LOSSES},
  "generator": {name: {"generator": {"name": name, **SMALL[name][0]}} for name in GENERATORS}
  | {name: {"generator": {"name": name, **arguments}} for name, arguments in SEEN.items()},
  "discriminator": {
    name: {"discriminator": {"name": name, **SMALL[name][1], **({"batch_norm": False} if name == "patch" else {})}}
    for name in DISCRIMINATORS
  }
  | {
    f"{name}, no BatchNorm": {"discriminator": {"name": name, **SMALL[name][1], "batch_norm": False}}
    for name in BATCH_NORM
  },
  "conditioning": {name: {"conditioning": {"name": name}} for name in ("none", "concat")}
  | {
    f"{name} {form}": {"conditioning": {"name": name, "generator": form}}
    for name in ("projection", "auxiliary")
    for form in ("concat", "class_batch_norm", "embedding", "fusion")
  }
  | {
    f"seen, {term}": {"conditioning": {"name": "seen", "pair": pair}, f"content__{term}": {"weight": 2.0}}
    for pair, term in ((True, "features"), (False, "l1"))
  },
  "data": {
    "8x8": data((8, 8, 1)),
    "12x12": data((12, 12, 1)),
    "16x8 RGB": data((16, 8, 3)),
    "points": data((1, 1, 2), "points"),
    "no labels": data((8, 8, 1), num_classes=0),
    "seen": data((8, 8, 1), seen=(8, 8, 2)),
  },
  "augment": {
    name: {"augment": {"name": name, **({"p": 0.5} if name == "scheduled" else {})}} for name in AUGMENTATIONS
  },
  "clip": {"no": {}, "yes": {"discriminator_optim": {**ADAM, "weight_clip": CLIP}}},
  "ema": {decay: {"ema__decay": decay} for decay in (0.0, 0.9)},
  "z_prior": {prior: {"z_prior": prior} for prior in ("normal", "uniform")},
  "n_critic": {n: {"game__n_critic": n} for n in (1, 2)},
  "order": {order: {"game__order": order} for order in ("alternating", "simultaneous")},
  "fakes": {fakes: {"game__fakes": fakes} for fakes in ("fresh", "shared")},
  "generator_reals": {reals: {"game__generator_reals": reals} for reals in ("shared", "fresh")},
  "generator_batches": {n: {"game__generator_batches": n} for n in (1, 2)},
  "warmup": {"no": {}, "yes": {"game__warmup": 3, "game__warmup_first": 1}},
} | {name: {"without": {}, "with": {f"penalties__{name}": {"every": 2} if name == "r1" else {}}} for name in SLOPES}
SWITCHES = [factor for factor, values in FACTORS.items() if len(values) == 2]
EXCLUDED = [  # pairs of values with a switch that are refused
  (("order", "simultaneous"), ("n_critic", 2)),
  (("order", "simultaneous"), ("warmup", "yes")),
  (("fakes", "shared"), ("generator_reals", "fresh")),
  (("fakes", "shared"), ("generator_batches", 2)),
  *((("discriminator", name), (penalty, "with")) for name in BATCH_NORM for penalty in SLOPES),
]


def build(row):
  """(config, GAN) of {factor: value}."""
  changes = {path: value for factor, value in row.items() for path, value in FACTORS[factor][value].items()}
  spec = changes.pop("spec")
  for player in ("generator", "discriminator"):
    if changes[player]["name"] == "sagan":
      changes[player] = {**changes[player], "attention_size": attention_size(spec.image_shape, player == "generator")}
  fixed = {"generator_optim": SGD, "discriminator_optim": SGD, "train__grad_clip": 1.0, "z_dim": 4}
  config = config_of("gan:digits,tapered,tiny", game={"name": "rounds"}, **{**fixed, **changes})
  return config, spec, from_config(config, spec)


def drawn(draw, **part):
  """A random legal row with ``part`` in it."""
  while True:
    row = {factor: draw.choice(list(values)) for factor, values in FACTORS.items()} | part
    for pair in EXCLUDED:
      if set(pair) <= row.items():
        factor = draw.choice([factor for factor, _ in pair if factor not in part])
        row[factor] = draw.choice([value for value in FACTORS[factor] if (factor, value) not in pair])
    # What few values go with, so that chance would seldom meet it.
    if "embedding" in row["conditioning"] and "generator" not in part:
      row["generator"] = "r3gan"
    if "seen" in (row["conditioning"][:4], row["data"]) or row["generator"] in SEEN:
      conditioning = draw.choice([name for name in FACTORS["conditioning"] if name.startswith("seen")])
      row |= {"data": "seen", "generator": draw.choice(list(SEEN)), "conditioning": conditioning, **part}
      if row["conditioning"] == "seen, features" and "augment" not in part:
        row["augment"] = "none"  # D sees the pair
    elif row["data"] not in ("8x8", "no labels") and "data" not in part:
      row["data"] = draw.choice([row["data"], "8x8"])
    try:
      build(row)
    except ConfigError as error:
      assert re.search("does not go with|degradation is empty", str(error)), row
    else:
      return row


def covered(row):
  """The pairs of a row that have a switch in them, and each of its values as a pair with itself."""
  pairs = itertools.combinations(row.items(), 2)
  return {pair for pair in pairs if not {pair[0][0], pair[1][0]}.isdisjoint(SWITCHES)} | {(v, v) for v in row.items()}


def must_run(pair):
  """Each value runs somewhere, but ADA, which compiles long, and each discriminator under a second derivative."""
  return (pair[0] == pair[1] != ("augment", "scheduled")) or (pair[0][0], pair[1]) == ("discriminator", ("r1", "with"))


@functools.cache
def rows():
  """Rows that have every pair of a pool of random legal ones, those that are to run first; and the pairs."""
  draw = random.Random(1)
  values = [(factor, value) for factor in FACTORS for value in FACTORS[factor]]
  pool = [drawn(draw, **{factor: value}) for factor, value in values for _ in range(12)]
  pool += [drawn(draw, discriminator=name, r1="with") for name in FACTORS["discriminator"] if name not in BATCH_NORM]
  having = [(row, covered(row)) for row in pool]
  pairs, taken, counts = set().union(*(has for _, has in having)), [], []
  quick = [(row, has) for row, has in having if row["augment"] != "scheduled"]
  for missing, candidates in (({pair for pair in pairs if must_run(pair)}, quick), (set(pairs), having)):
    missing = missing.difference(*map(covered, taken))
    while missing:
      row, has = max(candidates, key=lambda each: len(each[1] & missing))
      taken.append(row)
      missing -= has
    counts.append(len(taken))
  return taken, counts, pairs


def prepared(row):
  """(config, gan, state, its batches of 4)."""
  config, spec, gan = build(row)
  draw, lead = np.random.default_rng(0), (gan.batches_per_step, 4)
  batch = {
    "image": draw.uniform(-1.0, 1.0, (*lead, *spec.image_shape)).astype(np.float32),
    "label": np.arange(4 * lead[0], dtype=np.int32).reshape(lead) % 3,
    "index": np.broadcast_to(np.arange(4, dtype=np.int32), lead),
    **{row.name: np.zeros((*lead, *row.shape), row.dtype) for row in spec.rows[1:]},
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


@pytest.mark.parametrize("number", range(COMPILED))
def test_a_row_takes_a_step(number):
  row = rows()[0][number]
  config, gan, before, batch = prepared(row)
  step = jax.jit(gan.train_step)
  first, _ = step(before, batch, jax.random.key(1))
  # Only now do spectral vectors belong to their kernels, as those of `init` do.
  players = ("generator", "discriminator")
  warm = {name: getattr(before, name).replace(mutable=getattr(first, name).mutable) for name in players}
  after, metrics = step(before.replace(**warm), batch, jax.random.key(1))
  for path, leaf in jax.tree_util.tree_leaves_with_path((after, metrics)):
    assert np.all(np.isfinite(leaf)), (jax.tree_util.keystr(path), row)
  assert (int(after.generator.updates), int(after.discriminator.updates)) == (1, gan.game.n_critic)
  # A constant added to an uncentred critic changes nothing, and a rectifier may be off on all four images.
  assert min(moved(getattr(before, name), getattr(after, name)) for name in players) > 0.6, row
  assert read_by_alarms(gan) <= metrics.keys()
  for name in config.penalties:
    assert metrics[f"d_{name}"].total != 0.0, (name, row)
  if row["clip"] == "yes":
    bound = np.float32(CLIP) * (1 + 1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(after.discriminator.params)) <= bound


@pytest.mark.parametrize("number", range(COMPILED, COMPILED + TRACED))
def test_a_row_fits_together(number):
  _, gan, state, batch = prepared(rows()[0][number])
  after, metrics = jax.eval_shape(gan.train_step, state, batch, jax.random.key(1))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
  assert read_by_alarms(gan) <= metrics.keys()


def test_rows_have_every_pair_but_those_that_exclude_each_other():
  taken, counts, pairs = rows()
  assert counts == [COMPILED, COMPILED + TRACED] and pairs == set().union(*map(covered, taken))
  values = [(factor, value) for factor in FACTORS for value in FACTORS[factor]]
  all_pairs = set().union(*(covered(dict(pair)) for pair in itertools.combinations(values, 2)))
  assert {frozenset(pair) for pair in all_pairs - pairs} == {frozenset(pair) for pair in EXCLUDED}


@pytest.mark.parametrize("pair", EXCLUDED, ids=str)
def test_a_pair_that_is_excluded_is_refused(pair):
  row = {factor: next(iter(values)) for factor, values in FACTORS.items()} | dict(pair)
  row |= {"generator": row["discriminator"].partition(",")[0]}
  with pytest.raises(ConfigError, match=r"^config\..* does not go with .*; take "):
    build(row)
