"""What does not go together is refused with fields, values, the reason and ways out; declarations are true."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from common.build import parameters
from common.data.spec import RowType, Spec
from common.errors import ConfigError
from gan.conditioning import CONDITIONING, FORMS
from gan.from_config import from_config
from gan.game import Game
from gan.networks import DISCRIMINATORS, GENERATORS
from gan.networks.interface import DOUBLED, LabelHead, base_of, num_doublings
from gan.penalties import PENALTIES
from tests.advice import applied, ways
from tests.gan.networks.shapes import shapes
from tests.tiny import config_of

IMAGES = Spec((8, 8, 1), 10, 100, "images", (-1.0, 1.0), "")
POINTS = dataclasses.replace(IMAGES, image_shape=(1, 1, 2), kind="points")
LINE = dataclasses.replace(IMAGES, image_shape=(1, 8, 1))
ODD = dataclasses.replace(IMAGES, image_shape=(18, 18, 1))
BARE = dataclasses.replace(IMAGES, num_classes=0)
SEEN = dataclasses.replace(IMAGES, rows=(*IMAGES.rows, RowType("seen", (8, 8, 1), "float32")))
MLP = {"name": "mlp"}
PATCHES = ("patch", "unet")
RESTORING = {"conditioning": {"name": "seen"}, "generator": {"name": "unet"}, "z_dim": 0}
MLPS = {"generator": MLP, "discriminator": MLP}
TABLES = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
SIZED = [(player, name) for player, table in TABLES.items() for name in table if hasattr(table[name], "sizes")]


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (16, 8), (18, 20), (4, 4), (48, 64)])
def test_networks_take_the_sizes_that_they_declare(size):
  """And a generator makes images of that shape, which is all that a discriminator knows of it."""
  for table, name in [(GENERATORS, name) for name in GENERATORS] + [(DISCRIMINATORS, name) for name in DISCRIMINATORS]:
    network = table[name]
    if hasattr(network, "sizes") and not network.sizes.fits(*size):
      with pytest.raises(ConfigError, match=f"not {size[0]}x{size[1]}; take --config.data.image_size=[0-9]+"):
        shapes(table, name, (*size, 3))
      continue
    output, _ = shapes(table, name, (*size, 3))
    assert table is DISCRIMINATORS or (output.shape, output.dtype) == ((2, *size, 3), jnp.float32)


@pytest.mark.parametrize(
  ("size", "base", "way_out"),
  [
    ((8, 8), (4, 4), (8, 8)), ((64, 64), (4, 4), (64, 64)), ((28, 28), (7, 7), (28, 28)), ((48, 64), (6, 8), (48, 64)),
    ((80, 40), (10, 5), (80, 40)), ((5, 9), (), (8, 10)), ((36, 36), (), (40, 40)), ((63, 72), (), (64, 80)),
  ],
)  # fmt: skip
def test_the_base_of_an_image_and_the_next_larger_size(size, base, way_out):
  height, width = way_out
  wide = f" and --config.data.image_width={width}" if width != height else ""
  assert DOUBLED.way_out(*size) == f"--config.data.image_size={height}{wide}" and DOUBLED.fits(*size) == bool(base)
  if base:
    assert base_of((*size, 3)) == base and size[0] == base[0] << num_doublings((*size, 3))


def test_a_network_has_what_it_declares():
  for name, network in DISCRIMINATORS.items():
    fields = parameters(network)
    says = "batch_norm" in fields and fields["batch_norm"].default
    assert ("batch_stats" in shapes(DISCRIMINATORS, name, (16, 16, 1))[1]) == says, name
  for network in GENERATORS.values():
    assert getattr(network, "takes_given", "class_batch_norm") in FORMS
    assert ("kind" in parameters(network)) == (not hasattr(network, "sizes")), "whose output is linear for points"


@pytest.mark.parametrize("form", ["projection", "auxiliary"])
def test_every_discriminator_takes_labels_but_those_of_patches(form):
  for name in DISCRIMINATORS:
    if name in PATCHES:
      assert shapes(DISCRIMINATORS, name, (16, 16, 1))[0].logits.ndim == 3
      continue
    if "label_head" not in parameters(DISCRIMINATORS[name]):  # it joins them to its last map
      assert shapes(DISCRIMINATORS, name, (16, 16, 1), jnp.eye(2, 10))[0].logits.shape == (2,)
      continue
    output, variables = shapes(DISCRIMINATORS, name, (16, 16, 1), jnp.eye(2, 10), label_head=LabelHead(form, 10))
    features = output.features.shape[1]
    assert output.logits.shape == (2,) and (output.class_logits is None) == (form == "projection")
    layer, shape = ("label_embedding", (10, features)) if form == "projection" else ("label_classifier", (features, 10))
    assert variables["params"][layer]["kernel"].shape == shape, name


REFUSED = [  # data, changes, the two fields and the reason
  *(
    (IMAGES, {"penalties": {name: {}}}, f"penalties={{'{name}': ...}}", "discriminator.batch_norm=True: under")
    for name in PENALTIES
    if name != "matching_aware"
  ),
  *(
    (POINTS, {**MLPS, "augment": section}, f'augment.name="{section["name"]}"', 'data.name="digits": it is for images')
    for section in ({"name": "diffaugment"}, {"name": "scheduled", "p": 0.5})
  ),
  (LINE, {**MLPS, "augment": {"name": "diffaugment"}}, 'augment.name="diffaugment"', "data.image_size=1x8: it is for"),
  *(
    (BARE, {"conditioning": {"name": name}}, f'conditioning.name="{name}"', 'data.name="digits": it needs labels')
    for name in CONDITIONING
    if name not in ("none", "seen", "text")
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
      f"data.image_size=18: it is for {TABLES[player][name].sizes.words}",
    )
    for player, name in SIZED
    if name != "patch"
  ),
  (
    IMAGES,
    {"checkpoint__keep_best": "psnr"},
    'checkpoint.keep_best="psnr"',
    'loss.name="non_saturating": it is best for the blurred mean',
  ),
  *(
    (
      IMAGES,
      {"conditioning": {"name": name}, "discriminator": {"name": patches}},
      f'conditioning.name="{name}"',
      f'discriminator.name="{patches}": .*no layer for labels.*; take .*concat.* dcgan, ',
    )
    for name in ("projection", "auxiliary")
    for patches in PATCHES
  ),
  (IMAGES, {"conditioning": {"name": "text"}}, 'conditioning.name="text"', 'data.text.name="none": it needs captions'),
  (
    IMAGES,
    {**MLPS, "penalties": {"matching_aware": {}}},
    "penalties={'matching_aware': ...}",
    'conditioning.name="none": it is the slope by a caption',
  ),
  (SEEN, {"conditioning": {"name": "seen"}}, 'conditioning.name="seen"', 'generator.name="dcgan": .*maps z alone'),
  (SEEN, {"generator": {"name": "unet"}}, 'conditioning.name="none"', 'generator.name="unet": .*what is seen'),
  (IMAGES, {"content": {"l1": {"weight": 1.0}}}, "content={'l1': ...}", 'conditioning.name="none": a picture that is'),
  (IMAGES, {"z_dim": 0}, "z_dim=0", 'generator.name="dcgan": .*maps z; take --config.z_dim=128'),
  (
    dataclasses.replace(SEEN, image_shape=(8, 8, 3)),
    {**RESTORING, "z_dim": 4},
    "z_dim=4",
    "data.degradation: z stands behind the colors of the image, of which 1 of 3 are seen",
  ),
  (
    SEEN,
    {**RESTORING, "augment": {"name": "diffaugment"}},
    'augment.name="diffaugment"',
    "conditioning.pair=True: an augmented image",
  ),
  (
    SEEN,
    {**RESTORING, "content__perceptual": {"weight": 1.0, "features": "random"}, "evaluate__features": "random"},
    'content.perceptual.features="random"',
    'evaluate.features="random": a score',
  ),
  (SEEN, {**RESTORING, "checkpoint__keep_best": "psnr"}, 'checkpoint.keep_best="psnr"', 'loss.name="non_saturating"'),
  (
    IMAGES,
    {"conditioning": {"name": "projection"}, "generator": MLP},
    'conditioning.generator="class_batch_norm"',
    'generator.name="mlp": .*in the form class_batch_norm; take .*dcgan',
  ),
  (
    IMAGES,
    {"conditioning": {"name": "projection", "generator": "embedding"}},
    'conditioning.generator="embedding"',
    'generator.name="dcgan": .*in the form embedding; take .* r3gan',
  ),
  (
    IMAGES,
    {"conditioning": {"name": "projection"}, "discriminator": {"name": "df_gan", "width": 2}},
    'conditioning.name="projection"',
    'discriminator.name="df_gan": this discriminator has no layer for labels after its last one',
  ),
]


def check_ways_out(config, error, spec):
  """Each way out that the error names leads out."""
  named = ways(str(error.value))
  assert named, "no way out is named"
  for words in named:
    way = applied(config, words)
    height, width = way.data.image_size, way.data.image_width or way.data.image_size
    of_size = any("image_size" in word for word in words)
    assert from_config(way, dataclasses.replace(spec, image_shape=(height, width, 1)) if of_size else spec)


@pytest.mark.parametrize(("spec", "changes", "first", "second"), REFUSED, ids=[f"{a} {b}"[:60] for *_, a, b in REFUSED])
def test_a_pair_is_refused_and_each_way_out_leads_out(spec, changes, first, second):
  config = config_of("dcgan:digits,tiny", **changes)
  with pytest.raises(ConfigError, match=rf"^config\.{first} does not go with config\.{second}") as error:
    from_config(config, spec)
  check_ways_out(config, error, spec)


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
  check_ways_out(config, error, IMAGES)


@pytest.mark.parametrize("field", ["order", "fakes", "generator_reals"])
def test_a_word_of_the_game_is_one_of_its_choices(field):
  with pytest.raises(ConfigError, match=f'{field}="often" must be one of '):
    Game(**{field: "often"})


def test_labels_need_a_batch_norm_in_the_tapered_generator():
  network = GENERATORS["tapered_mlp"](image_shape=(8, 8, 1), pixel_range=(0.0, 1.0), widths=(4,))
  with pytest.raises(ConfigError, match=r"widths=\(4,\) have no BatchNorm .*take --\.widths"):
    jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((2, 4)), train=True, given=jnp.eye(2, 3)))
