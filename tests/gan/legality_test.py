"""The table of what does not go together: true of the code, each rule refused by name, no JAX."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.build import parameters
from common.data.spec import Spec
from common.errors import ConfigError
from common.legality import clashes
from gan import legality
from gan.augment import AUGMENTATIONS, build_augmentation
from gan.conditioning import CONDITIONING
from gan.from_config import from_config
from gan.losses import LOSSES
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.penalties import PENALTIES, build_penalties
from gan.warmup import CriticWarmup
from tests.advice import applied, ways
from tests.gan.penalties.seen import of_either_half, see
from tests.tiny import config_of

IMAGES = Spec((8, 8, 1), 10, 100, "images", (-1.0, 1.0), "")
POINTS = Spec((1, 1, 2), 10, 100, "points", (-1.0, 1.0), "")
BARE = Spec((8, 8, 1), 0, 100, "images", (-1.0, 1.0), "")
LINE = Spec((1, 8, 1), 10, 100, "images", (-1.0, 1.0), "")
SMALL = {
  "mlp": {"width": 4},
  "tapered_mlp": {"widths": (4, 4)},
  "infogan": {"width": 2, "hidden": 4},
  "sagan": {"width": 8, "attention_size": 0},
  "r3gan": {"width": 2, "cardinality": 2},
}
MLP = {"name": "mlp"}
MLPS = {"generator": MLP, "discriminator": MLP}
CLASSES = {"name": "class_batch_norm"}
PROJECTION = {"name": "projection"}


def built(spec=IMAGES, **changes):
  return from_config(config_of("dcgan:digits,tiny", **changes), spec)


def shapes(table, name, image_shape):
  """Variables of a network, or the text of its refusal."""
  context = {"image_shape": image_shape, "pixel_range": (-1.0, 1.0)}
  allowed = parameters(table[name])
  network = table[name](**SMALL.get(name, {"width": 2}), **{k: v for k, v in context.items() if k in allowed})
  x = jnp.zeros((2, 4)) if table is GENERATORS else jnp.zeros((2, *image_shape))
  rows = {} if table is GENERATORS else {"rows": random.row_keys(jax.random.key(0), jnp.arange(2))}
  try:
    return jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x, train=True, **rows))
  except ConfigError as error:
    return str(error)


@pytest.mark.parametrize("table", [GENERATORS, DISCRIMINATORS], ids=["G", "D"])
@pytest.mark.parametrize("size", [(8, 8), (12, 12), (16, 8), (14, 14)])
def test_networks_take_the_sizes_that_the_table_says(table, size):
  """And a generator makes images of that shape, which is all that a discriminator knows of it."""
  for name in table:
    sizes = legality.NETWORKS[name].sizes
    found = shapes(table, name, (*size, 3))
    assert isinstance(found, str) == bool(sizes and not legality.SIZES[sizes](*size)), (name, found)
    if table is GENERATORS and not isinstance(found, str):
      assert (found[0].shape, found[0].dtype) == ((2, *size, 3), jnp.float32)


def test_the_table_is_true_of_networks():
  assert set(legality.NETWORKS) == set(GENERATORS) == set(DISCRIMINATORS)
  for name, network in legality.NETWORKS.items():
    of_g, of_d = parameters(GENERATORS[name]), parameters(DISCRIMINATORS[name])
    assert ("norm_classes" in of_g, "embedding_classes" in of_g) == (
      network.labels == "class_batch_norm",
      network.labels == "embedding",
    )
    assert ("kind" in of_g) == (not network.sizes)
    assert "label_head" in of_d, "every discriminator takes labels, and no rule asks"
    assert ("batch_stats" in shapes(DISCRIMINATORS, name, (16, 16, 1))[1]) == network.batch_norm
    assert not network.batch_norm or of_d["batch_norm"].default is True
  defaults = {
    name: known["generator"].default for name, f in CONDITIONING.items() if "generator" in (known := parameters(f))
  }
  assert defaults == legality.LABELS_OF_G


def spied(calls):
  """D(x) = sum(x) that notes its passes and their derivatives."""

  @jax.custom_vjp
  def critic(x):
    calls.append("pass")
    return jnp.sum(x, axis=(1, 2, 3))

  def forward(x):
    return critic(x), x

  def backward(x, cotangent):
    calls.append("derivative")
    return (cotangent[:, None, None, None] * jnp.ones_like(x),)

  critic.defvjp(forward, backward)
  return critic


def test_the_table_is_true_of_penalties():
  """Which of them differentiate D's pass over images, and which only look at another one."""
  calls = {name: [] for name in PENALTIES}
  for name, noted in calls.items():
    (penalty,) = build_penalties({name: {}}).values()
    seen = see()._replace(apply_d=of_either_half(spied(noted)), params={"kernel": jnp.ones((3, 2))})
    jax.eval_shape(lambda seen=seen, penalty=penalty: penalty(seen, penalty.init()))
  assert tuple(name for name, noted in calls.items() if "derivative" in noted) == legality.SLOPES
  assert tuple(name for name, noted in calls.items() if set(noted) == {"pass"}) == legality.COPIES


def test_the_table_is_true_of_losses_and_augmentations():
  """Whose discriminator's loss is blind to a constant in D; what adapts to logits."""
  real, fake = jnp.array([0.3, -1.0]), jnp.array([0.9, 0.1])
  losses = {name: make().discriminator for name, make in LOSSES.items()}
  change = {name: loss(real + 3, fake + 3) - loss(real, fake) for name, loss in losses.items()}
  assert {name for name, by in change.items() if np.allclose(by, 0, atol=1e-6)} == set(legality.UNCENTRED)
  adaptive = []
  for name in AUGMENTATIONS:
    made = build_augmentation({"name": name, **({"p": 0.5} if name == "scheduled" else {})}, IMAGES)
    up, down = (made.adapt(made.init(), sign * jnp.ones(4), jnp.int32(0), None) for sign in (1.0, -1.0))
    adaptive += [name for a, b in zip(jax.tree.leaves(up), jax.tree.leaves(down), strict=True) if a != b][:1]
  assert adaptive == ["ada"]


GP, R1, CR, BCR = ({name: {}} for name in ("gradient_penalty", "r1", "consistency", "balanced_consistency"))
REFUSED = [
  (IMAGES, {"update_order": "simultaneous", "n_critic": 2}, 'update_order="simultaneous"', "n_critic=2: both players"),
  (
    IMAGES,
    {"update_order": "simultaneous", "critic_warmup__updates": 9, "critic_warmup__first": 1},
    'update_order="simultaneous"',
    "critic_warmup.updates=9: .* D moves alone",
  ),
  (IMAGES, {"fakes": "shared", "generator_batch_multiple": 2}, 'fakes="shared"', "generator_batch_multiple=2: G has"),
  (IMAGES, {"fakes": "shared", "generator_reals": "fresh"}, 'fakes="shared"', 'generator_reals="fresh": the fakes of'),
  *(
    (
      IMAGES,
      {"augment": {"name": "ada"}, "loss": {"name": loss}},
      'augment.name="ada"',
      f'loss.name="{loss}": it reads',
    )
    for loss in legality.UNCENTRED
  ),
  *(
    (IMAGES, {"penalties": {name: {}}}, f"penalties.{name}={{}}", "discriminator.batch_norm=True: .*batch_norm=False")
    for name in legality.SLOPES
  ),
  *(
    (
      IMAGES,
      {"penalties": {name: {}}, "discriminator_passes": 1},
      f"penalties.{name}={{}}",
      "discriminator_passes=1: a",
    )
    for name in legality.COPIES
  ),
  *(
    (POINTS, {**MLPS, "penalties": {name: {}}}, f"penalties.{name}={{}}", 'data.name="digits": it moves')
    for name in legality.COPIES
  ),
  *(
    (POINTS, {**MLPS, "augment": {"name": name}}, f'augment.name="{name}"', 'data.name="digits": .*points')
    for name in AUGMENTATIONS
    if name != "none"
  ),
  (LINE, {**MLPS, "augment": {"name": "flip"}}, 'augment.name="flip"', "data.image_size=1x8: one line"),
  *(
    (BARE, {"conditioning": {"name": name}}, f'conditioning.name="{name}"', 'data.name="digits": it needs labels')
    for name in CONDITIONING
    if name != "none"
  ),
  *(
    (
      POINTS,
      {**MLPS, player: {"name": name}},
      f'{player}.name="{name}"',
      'data.name="digits": .*are points',
    )
    for player in ("generator", "discriminator")
    for name, network in legality.NETWORKS.items()
    if network.sizes
  ),
  *(
    (
      Spec((14, 14, 1), 10, 9, "images", (-1.0, 1.0), ""),
      {**MLPS, player: {"name": name}},
      f'{player}.name="{name}"',
      f"data.image_size=14: it is for {network.sizes}",
    )
    for player in ("generator", "discriminator")
    for name, network in legality.NETWORKS.items()
    if network.sizes
  ),
  *(
    (
      IMAGES,
      {"conditioning": CLASSES, "generator": {"name": name}},
      'conditioning.name="class_batch_norm"',
      f"generator.name=\"{name}\": D would see no label.*'projection', 'generator': '{form}'",
    )
    for name, form in (("dcgan", "class_batch_norm"), ("mlp", "concat"))
  ),
  (
    IMAGES,
    {"conditioning": PROJECTION, "generator": MLP},
    'conditioning.generator="class_batch_norm"',
    'generator.name="mlp": .*dcgan',
  ),
  (
    IMAGES,
    {"conditioning": {**PROJECTION, "generator": "embedding"}},
    'conditioning.generator="embedding"',
    'generator.name="dcgan": .*embeds no labels; take .* r3gan',
  ),
  (
    IMAGES,
    {"conditioning": PROJECTION, "generator": {"name": "tapered_mlp", "widths": (4,)}},
    'conditioning.generator="class_batch_norm"',
    r"generator.widths=\(4,\): BatchNorm comes",
  ),
]


@pytest.mark.parametrize(
  ("spec", "changes", "first", "second"), REFUSED, ids=[f"{a} {b}"[:60] for _, _, a, b in REFUSED]
)
def test_a_pair_is_refused_with_both_values_the_reason_and_the_way_out(spec, changes, first, second):
  with pytest.raises(ConfigError, match=rf"^config\.{first} does not go with config\.{second}") as error:
    built(spec, **changes)
  found = ways(str(error.value))
  assert found, "no way out is named"
  for words in found:  # a test that follows it
    config = applied(config_of("dcgan:digits,tiny", **changes), words)
    size = config.data.image_size if any("image_size" in word for word in words) else 0
    assert from_config(config, dataclasses.replace(spec, image_shape=(size, size, 1)) if size else spec)


def test_every_rule_is_among_them():
  """By identity: of rules on the same fields each has its own case."""
  hit = set()
  for spec, changes, *_ in REFUSED:
    found = legality.values(config_of("dcgan:digits,tiny", **changes), spec)
    hit |= {n for n, rule in enumerate(legality.RULES) if clashes(legality.RULES, found) and _bites(rule, found)}
  assert hit == set(range(len(legality.RULES)))


def _bites(rule, found):
  return rule.first in found and rule.second in found and rule.clash(found[rule.first], found[rule.second])


def test_it_needs_no_jax():
  code = """
import sys
from common.data.spec import Spec
from configs import wgan
from gan.legality import illegal
config = wgan.get_config("digits").unlock()
config.penalties = {"r1": {"weight": 1.0}}
(line,) = illegal(config, Spec((16, 16, 1), 10, 9, "images", (-1.0, 1.0), ""))
assert "config.penalties.r1={'weight': 1.0} does not go with config.discriminator.batch_norm=True" in line, line
sys.exit(any(module.split(".")[0] in ("jax", "flax", "optax") for module in sys.modules))
"""
  subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_a_warm_up_before_no_update_is_refused():
  with pytest.raises(ConfigError, match=r"critic_warmup\.updates=9 concerns no update of G"):
    CriticWarmup(updates=9, first=0, every=0)
  assert CriticWarmup(updates=9, first=1, every=0).needed(jnp.int32(0), 5) == 9
  assert CriticWarmup(updates=0, first=0, every=0).needed(jnp.int32(0), 5) == 5
