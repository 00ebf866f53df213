"""What does not go together is refused with fields, values, the reason and ways out; declarations are true."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from common import random
from common.build import parameters
from common.data.spec import Spec
from common.errors import ConfigError
from gan.conditioning import CONDITIONING
from gan.from_config import from_config
from gan.game import Game
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.penalties import PENALTIES
from tests.advice import applied, ways
from tests.tiny import config_of

IMAGES = Spec((8, 8, 1), 10, 100, "images", (-1.0, 1.0), "")
POINTS = dataclasses.replace(IMAGES, image_shape=(1, 1, 2), kind="points")
LINE = dataclasses.replace(IMAGES, image_shape=(1, 8, 1))
ODD = dataclasses.replace(IMAGES, image_shape=(14, 14, 1))
BARE = dataclasses.replace(IMAGES, num_classes=0)
SMALL = {
  "mlp": {"width": 4},
  "tapered_mlp": {"widths": (4, 4)},
  "infogan": {"width": 2, "hidden": 4},
  "sagan": {"width": 8, "attention_size": 0},
  "r3gan": {"width": 2, "cardinality": 2},
}
MLP = {"name": "mlp"}
MLPS = {"generator": MLP, "discriminator": MLP}
TABLES = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
SIZED = [(player, name) for player, table in TABLES.items() for name in table if hasattr(table[name], "sizes")]


def shapes(table, name, image_shape):
  """Outputs and variables of a network, or the text of its refusal."""
  context = {"image_shape": image_shape, "pixel_range": (-1.0, 1.0)}
  allowed = parameters(table[name])
  network = table[name](**SMALL.get(name, {"width": 2}), **{k: v for k, v in context.items() if k in allowed})
  x = jnp.zeros((2, 4)) if table is GENERATORS else jnp.zeros((2, *image_shape))
  keys = {} if table is GENERATORS else {"keys": random.row_keys(jax.random.key(0), jnp.arange(2))}
  try:
    return jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x, train=True, **keys))
  except ConfigError as error:
    return str(error)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("size", [(8, 8), (12, 12), (16, 8), (14, 14)])
def test_networks_take_the_sizes_that_they_declare(table, size):
  """And a generator makes images of that shape, which is all that a discriminator knows of it."""
  for name, network in table.items():
    sizes = getattr(network, "sizes", None)
    found = shapes(table, name, (*size, 3))
    assert isinstance(found, str) == bool(sizes and not sizes.fits(*size)), (name, found)
    if table is GENERATORS and not isinstance(found, str):
      assert (found[0].shape, found[0].dtype) == ((2, *size, 3), jnp.float32)


def test_a_discriminator_has_batch_norm_where_it_says_so_and_takes_labels():
  for name, network in DISCRIMINATORS.items():
    fields = parameters(network)
    says = "batch_norm" in fields and fields["batch_norm"].default
    assert ("batch_stats" in shapes(DISCRIMINATORS, name, (16, 16, 1))[1]) == says, name
    assert "label_head" in fields
  for network in GENERATORS.values():
    assert ("kind" in parameters(network)) == (not hasattr(network, "sizes")), "whose output is linear for points"


REFUSED = [  # data, changes, the two fields and the reason
  *(
    (IMAGES, {"penalties": {name: {}}}, f"penalties={{'{name}': ...}}", "discriminator.batch_norm=True: under")
    for name in PENALTIES
  ),
  *(
    (POINTS, {**MLPS, "augment": section}, f'augment.name="{section["name"]}"', 'data.name="digits": it is for images')
    for section in ({"name": "diffaugment"}, {"name": "scheduled", "p": 0.5})
  ),
  (LINE, {**MLPS, "augment": {"name": "diffaugment"}}, 'augment.name="diffaugment"', "data.image_size=1x8: it is for"),
  *(
    (BARE, {"conditioning": {"name": name}}, f'conditioning.name="{name}"', 'data.name="digits": it needs labels')
    for name in CONDITIONING
    if name != "none"
  ),
  *(
    (POINTS, {**MLPS, player: {"name": name}}, f'{player}.name="{name}"', 'data.name="digits": .*are points')
    for player, name in SIZED
  ),
  *(
    (
      ODD,
      {**MLPS, player: {"name": name}},
      f'{player}.name="{name}"',
      f"data.image_size=14: it is for {TABLES[player][name].sizes.words}",
    )
    for player, name in SIZED
  ),
  (
    IMAGES,
    {"conditioning": {"name": "projection"}, "generator": MLP},
    'conditioning.generator="class_batch_norm"',
    'generator.name="mlp": .*has no BatchNorm; take .*dcgan',
  ),
  (
    IMAGES,
    {"conditioning": {"name": "projection", "generator": "embedding"}},
    'conditioning.generator="embedding"',
    'generator.name="dcgan": .*embeds no labels; take .* r3gan',
  ),
]


@pytest.mark.parametrize(("spec", "changes", "first", "second"), REFUSED, ids=[f"{a} {b}"[:60] for *_, a, b in REFUSED])
def test_a_pair_is_refused_and_each_way_out_leads_out(spec, changes, first, second):
  config = config_of("dcgan:digits,tiny", **changes)
  with pytest.raises(ConfigError, match=rf"^config\.{first} does not go with config\.{second}") as error:
    from_config(config, spec)
  found = ways(str(error.value))
  assert found, "no way out is named"
  for words in found:
    way = applied(config, words)
    size = way.data.image_size if any("image_size" in word for word in words) else 0
    assert from_config(way, dataclasses.replace(spec, image_shape=(size, size, 1)) if size else spec)


GAMES = [
  ({"order": "simultaneous", "n_critic": 2}, "order=simultaneous does not go with n_critic=2"),
  ({"order": "simultaneous", "warmup": 9, "warmup_first": 1}, "order=simultaneous does not go with warmup=9"),
  ({"fakes": "shared", "generator_batches": 2}, "fakes=shared does not go with generator_batches=2"),
  ({"fakes": "shared", "generator_reals": "fresh"}, "fakes=shared does not go with generator_reals=fresh"),
  ({"warmup": 9}, "warmup=9 applies to no update of G"),
  ({"n_critic": 0}, "n_critic=0 must be above 0"),
  ({"generator_batches": 0}, "generator_batches=0 must be above 0"),
  ({"d_loss_scale": 0.0}, "d_loss_scale=0.0 must be above 0"),
]


@pytest.mark.parametrize(("changes", "message"), GAMES, ids=[message for _, message in GAMES])
def test_a_game_is_refused_and_each_way_out_leads_out(changes, message):
  config = config_of("dcgan:digits,tiny", **{f"game__{key}": value for key, value in changes.items()})
  with pytest.raises(ConfigError, match=rf"^config\.game: {message}") as error:
    from_config(config, IMAGES)
  found = ways(str(error.value))
  assert found, "no way out is named"
  for words in found:
    assert from_config(applied(config, words), IMAGES)


@pytest.mark.parametrize("field", ["order", "fakes", "generator_reals"])
def test_a_word_of_the_game_is_one_of_its_choices(field):
  with pytest.raises(ConfigError, match=f'{field}="often" must be one of '):
    Game(**{field: "often"})


def test_labels_need_a_batch_norm_in_the_tapered_generator():
  network = GENERATORS["tapered_mlp"](image_shape=(8, 8, 1), pixel_range=(0.0, 1.0), widths=(4,), norm_classes=3)
  with pytest.raises(ConfigError, match=r"widths=\(4,\) have no BatchNorm .*take --\.widths"):
    jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((2, 4)), train=True, labels=jnp.arange(2)))
