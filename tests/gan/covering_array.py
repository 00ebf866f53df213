"""The covering array of a GAN's settings: rows in which every pair of them that goes together is in some row.

The step sees a network through its inputs, its outputs and its collections, so pairs with a network are pairs with
these `aspects` of it; each network is in some row, each discriminator under a second derivative. What a network makes
of labels and of shapes is in conditioning_test.py and legality_test.py.

The first COMPILED rows run: they have every value, and every pair of `MEET`, where derivatives and collections meet.
Among them are `RECIPES`, which papers have as a whole. What else meets does so in logits [B], images, labels or the
number of an update, which have one shape and one meaning whatever they come from: the other pairs are in some row too,
which is traced if it is not among the first.
"""

import functools
import itertools
import random

from common.data.spec import Spec
from common.legality import clashes
from gan import legality
from gan.augment import AUGMENTATIONS
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.penalties import PENALTIES
from tests.tiny import config_of

COMPILED, TRACED = 16, 29  # rows
TRIES = 20  # rows that are tried for each that is taken
ORDER = ("n_critic", "update_order", "fakes", "generator_reals", "generator_batch_multiple", "discriminator_passes")
MEET = (
  (*PENALTIES, "collections of D"),
  (*ORDER, "critic_warmup", "ema"),
  (*ORDER, "collections of D", "collections of G"),
)
PLAYERS = ("generator", "discriminator")
RECIPES = (
  {"loss": "non_saturating", "r1": "with", "r2": "with"},
  {  # R3GAN's, whose augmentation is ADA's pipeline at a p by schedule
    **dict.fromkeys(PENALTIES, "without"),
    **dict.fromkeys(("r1", "r2"), "with"),
    **dict.fromkeys(PLAYERS, "r3gan"),
    "loss": "relativistic_pairing",
    "augment": "scheduled",
    "conditioning": "projection embedding",
    "generator_reals": "fresh",
    "ema": 0.9,
  },
)
CLIP = 0.5

_SMALL = {
  "mlp": ({"width": 4, "layers": 1, "init_range": 0.1}, {"width": 4, "layers": 1, "pieces": 2, "init_range": 0.1}),
  "tapered_mlp": ({"widths": (4, 4)}, {"widths": (4,)}),
  "dcgan": ({"width": 2, "kernel_size": 3},) * 2,
  "infogan": ({"width": 2, "hidden": 4},) * 2,
  "sndcgan": ({"width": 1},) * 2,
  "resnet": ({"width": 2},) * 2,
  "sagan": ({"width": 8, "attention_size": 8}, {"width": 8, "attention_size": 4}),
  "r3gan": ({"width": 2, "blocks": 1, "cardinality": 2, "embedding_dim": 2},) * 2,
}
_STRENGTH = {
  "ada": {"start": 0.5, "blit": 0.0, "geometric": 0.0},
  "scheduled": {"p": 0.5, "geometric": 0.0, "color": 0.0, "cutout": 0.0},
}


def _settings(path, *choices):
  return {str(choice): {path: choice} for choice in choices}


def _sections(path, *sections):
  return {" ".join(str(value) for value in section.values()): {path: section} for section in sections}


def _data(shape, kind="images", num_classes=3):
  return {"spec": Spec(shape, num_classes, 100, kind, (-1.0, 1.0), "")}


# {factor: {value: what it changes}}; the first values together are BASE, which every other value goes with.
FACTORS = {
  "loss": _sections("loss", {"name": "non_saturating"}, *({"name": name} for name in LOSSES if name[0] != "n")),
  "generator": {name: {"generator": {"name": name, **_SMALL[name][0]}} for name in GENERATORS},
  "discriminator": {name: {"discriminator": {"name": name, **_SMALL[name][1]}} for name in DISCRIMINATORS}
  | {
    f"{name} without BatchNorm": {"discriminator": {"name": name, **_SMALL[name][1], "batch_norm": False}}
    for name in ("dcgan", "infogan")
  },
  "conditioning": _sections(
    "conditioning",
    {"name": "none"},
    {"name": "concat"},
    *(
      {"name": name, "generator": form}
      for name in ("projection", "auxiliary")
      for form in ("concat", "class_batch_norm", "embedding")
    ),
  ),
  "data": {
    "8x8": _data((8, 8, 1)),
    "12x12": _data((12, 12, 1)),
    "16x8 RGB": _data((16, 8, 3)),
    "points": _data((1, 1, 2), "points"),
    "without labels": _data((8, 8, 1), num_classes=0),
  },
  "augment": {name: {"augment": {"name": name, **_STRENGTH.get(name, {})}} for name in AUGMENTATIONS},
  "lazy_penalties": _settings("lazy_penalties", "term", "update"),
  "weight_clip": _settings("weight_clip", 0.0, CLIP),
  "generator_orthogonal": _settings("generator_orthogonal", 0.0, 0.1),
  "top_k": {share: {"top_k": {"name": "constant", "value": share}} for share in (1.0, 0.5)},
  "n_critic": _settings("n_critic", 1, 2),
  "critic_warmup": {n: {"critic_warmup": {"updates": n, "first": 1, "every": 0}} for n in (0, 3)},
  "update_order": _settings("update_order", "alternating", "simultaneous"),
  "fakes": _settings("fakes", "fresh", "shared"),
  "generator_reals": _settings("generator_reals", "shared", "fresh"),
  "generator_batch_multiple": _settings("generator_batch_multiple", 1, 2),
  "discriminator_passes": _settings("discriminator_passes", 2, 1),
  "ema": {decay: {"ema": {"decay": decay}} for decay in (0.0, 0.9)},
  "z_prior": _settings("z_prior", "normal", "uniform"),
} | {name: {"without": {}, "with": {f"penalties.{name}": {}}} for name in PENALTIES}
FACTORS["r1"]["with"] = {"penalties.r1": {"every": 2}}
FACTORS["lecam"]["with"] = {"penalties.lecam": {"start": 0}}
# Seconds to compile, roughly: a pass of the network or the augmentation; how many passes a penalty has of its own.
WORK = {"sagan": 0.6, "resnet": 0.6, "r3gan": 0.4, "sndcgan": 0.4, "scheduled": 0.5, "ada": 0.2, "diffaugment": 0.3}
PASSES = {"lecam": 0, "orthogonal": 0, "consistency": 1, "balanced_consistency": 2}  # the others 3
BASE = {factor: next(iter(choices)) for factor, choices in FACTORS.items()}


def aspects(factor, value):
  """{what pairs are of: its value} of one factor's value."""
  if factor == "generator":
    return {"collections of G": legality.NETWORKS[value].labels == "class_batch_norm"}
  if factor == "discriminator":
    # Of 8x8 pixels DCGAN's has no layer that BatchNorm follows.
    kinds = {"mlp": "dropout", "infogan": "BatchNorm", "sndcgan": "spectral", "resnet": "spectral", "sagan": "spectral"}
    return {"collections of D": kinds.get(value, "none")}
  if factor == "conditioning":
    name, _, form = value.partition(" ")
    return {"labels of G": form or name, "labels of D": name}
  if factor == "data":
    return {"shape": "8x8", "labels": False} if value == "without labels" else {"shape": value, "labels": True}
  return {factor: value}


@functools.cache
def settings():
  """A config's values, all of BASE."""
  sgd = {"name": "sgd", "learning_rate": 0.1}
  optims = {"generator_optim": sgd, "discriminator_optim": sgd, "train__grad_clip": 1.0}  # a step that no net dies of
  return config_of("dcgan:digits,tiny", z_dim=4, **optims).to_dict()


class Section(dict):
  """A config that is quick to make."""

  __getattr__ = dict.__getitem__


def config_and_spec(row):
  """A row {factor: value} as a config, for data of a spec."""
  changes = {path: value for factor, value in row.items() for path, value in FACTORS[factor][value].items()}
  spec = changes.pop("spec")
  penalties = {path.partition(".")[2]: changes.pop(path) for path in [*changes] if path.startswith("penalties.")}
  sections = {name: Section(value) if isinstance(value, dict) else value for name, value in settings().items()}
  ema = {**sections.pop("ema"), **changes.pop("ema")}
  changes = {name: Section(value) if isinstance(value, dict) else value for name, value in changes.items()}
  return Section({**sections, **changes, "penalties": Section(penalties), "ema": Section(ema)}), spec


VALUES = [(factor, value) for factor, choices in FACTORS.items() for value in choices]


def factor_of(field):
  head, _, rest = field.partition(".")
  return rest if head == "penalties" else head


@functools.cache
def illegal_pairs():
  """{(one, other): the message}, both orders, of values of two factors."""
  found = {}
  for one, other in itertools.combinations(VALUES, 2):
    if one[0] != other[0]:
      fields = legality.values(*config_and_spec({**BASE, **dict((one, other))}))
      theirs = {field: value for field, value in fields.items() if factor_of(field) in (one[0], other[0])}
      if lines := clashes(legality.RULES, theirs):
        found[one, other] = found[other, one] = lines[0]
  return found


def goes_with(value, row):
  return not any((value, other) in illegal_pairs() for other in row.items())


def wanted(row):
  """The pairs of aspects that a row, or a part of one, covers."""
  has = sorted((name, str(a)) for item in row.items() for name, a in aspects(*item).items())
  pairs = set(itertools.combinations(has, 2)) | {(one, one) for one in row.items()}
  if "discriminator" in row and row.get("r1") == "with":
    pairs.add((("discriminator", row["discriminator"]), ("r1", "with")))
  return pairs


def runs(pair):
  """Whether a step must run with it."""
  one, other = pair
  return one == other or one[0] == "discriminator" or any(one[0] in group and other[0] in group for group in MEET)


def work(row):
  """Seconds to compile the step of a row or of a part of one."""
  passes = 3 + sum(PASSES.get(name, 3) for name in PENALTIES if row.get(name) == "with")
  pair = [WORK.get(row.get(name), 0.1) for name in ("discriminator", "augment")]
  return 1 + 3 * WORK.get(row.get("generator"), 0.1) + passes * sum(pair)


def completed(part, draw, missing):
  """A legal row with ``part`` in it, greedily of ``missing``; None where there is none."""
  factors = [factor for factor in FACTORS if factor not in part]
  if not factors:
    return part
  free = {f: [v for v in FACTORS[f] if goes_with((f, v), part)] for f in factors}
  factor = min(factors, key=lambda f: (len(free[f]) > 1, not f.endswith("r"), draw.random()))
  draw.shuffle(free[factor])
  wholes = {value: {**part, factor: value} for value in free[factor]}
  order = sorted(free[factor], key=lambda v: (-len(wanted(wholes[v]) & missing), work(wholes[v])))
  for value in order:
    if row := completed(wholes[value], draw, missing):
      return row
  return None


@functools.cache
def array():
  """The rows; the pairs that some legal row has; those that each pair of values allows, and no row."""
  draw, parts = random.Random(0), {}
  for a, b in itertools.product(VALUES, repeat=2):
    if (a[0] != b[0] or a == b) and (a, b) not in illegal_pairs():
      for pair in wanted(dict((a, b))):
        parts.setdefault(pair, []).append(dict((a, b)))
  possible, impossible = set(parts), set()
  rows = [completed(recipe, draw, {pair for pair in parts if runs(pair)}) for recipe in RECIPES]
  for missing in ({pair for pair in parts if runs(pair)}, set(parts)):
    missing = missing.difference(impossible, *map(wanted, rows))
    while missing:
      # First the pairs that few combinations have.
      hardest = sorted(missing, key=lambda pair: (len(parts[pair]), pair))[:TRIES]
      tried = {pair: completed(draw.choice(parts[pair]), draw, missing) for pair in hardest}
      none = {
        pair for pair, row in tried.items() if not row and not any(completed(p, draw, missing) for p in parts[pair])
      }
      missing, impossible = missing - none, impossible | none
      if found := [row for row in tried.values() if row]:
        rows.append(max(found, key=lambda row: len(wanted(row) & missing) / work(row)))
        missing -= wanted(rows[-1])
  return rows, possible - impossible, impossible
