"""Which values of two fields of a GAN's config do not go together: RULES is the table, read before anything is built.

A rule sees the values of its two fields and nothing else, so that a config is legal where each pair of its values is.
There is no JAX here; that the words below are true of the code is tested.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from common.data.spec import Spec
from common.legality import Data, Rule, clashes, typed

SIZES: dict[str, Callable[[int, int], bool]] = {
  "squares of 8, 16, 32, 64 ... pixels": lambda height, width: height == width >= 8 and not height & (height - 1),
  "multiples of 4 pixels": lambda height, width: not (height % 4 or width % 4),
  "multiples of 8 pixels": lambda height, width: not (height % 8 or width % 8),
}
SQUARES, FOURS, EIGHTS = SIZES


class Network(NamedTuple):
  """What the generator and the discriminator of one name are made for.

  Attributes:
    sizes: of images, of SIZES; empty for any, and for points as well.
    labels: how G takes them, besides "concat".
    batch_norm: whether D has BatchNorm where ``batch_norm`` does not say.
  """

  sizes: str = ""
  labels: str = ""
  batch_norm: bool = False


NETWORKS = {
  "mlp": Network(),
  "tapered_mlp": Network(labels="class_batch_norm"),
  "dcgan": Network(SQUARES, "class_batch_norm", batch_norm=True),
  "infogan": Network(FOURS, "class_batch_norm", batch_norm=True),
  "sndcgan": Network(EIGHTS, "class_batch_norm"),
  "resnet": Network(SQUARES, "class_batch_norm"),
  "sagan": Network(SQUARES, "class_batch_norm"),
  "r3gan": Network(SQUARES, "embedding"),
}
LABELS_OF_G = {"projection": "class_batch_norm", "auxiliary": "concat"}  # where conditioning.generator does not say
SLOPES = ("gradient_penalty", "dragan", "r1", "r2")  # penalties on D's gradient of one image
COPIES = ("consistency", "balanced_consistency")  # penalties that show D moved images
UNCENTRED = ("wasserstein", "relativistic_pairing")  # losses that a constant added to D does not change


def _takers(form: str) -> str:
  return ", ".join(name for name, network in NETWORKS.items() if network.labels == form)


def _unable(form: str) -> Callable[[Any, Any], bool]:
  return lambda value, name: value == form and name in NETWORKS and NETWORKS[name].labels != form


def _untaught(form: str) -> Callable[[Any, Any], bool]:
  """``conditioning`` is BatchNorm's labels alone, and G, of this name, can take them in this form."""
  unable = _unable("class_batch_norm")
  return lambda value, name: value == "class_batch_norm" and unable(value, name) == (form == "concat")


def _unfit(sizes: str) -> Callable[[Any, Any], bool]:
  return lambda name, size: name in NETWORKS and NETWORKS[name].sizes == sizes and not SIZES[sizes](*size)


RULES: tuple[Rule, ...] = (
  Rule(
    "update_order",
    "n_critic",
    lambda order, updates: order == "simultaneous" and updates > 1,
    "both players move once a round, from the same point",
    "--config.n_critic=1 or --config.update_order=alternating",
  ),
  Rule(
    "update_order",
    "critic_warmup.updates",
    lambda order, updates: order == "simultaneous" and updates > 0,
    "both players move in each round, and in a warm-up D moves alone",
    "--config.critic_warmup.updates=0 or --config.update_order=alternating",
  ),
  Rule(
    "fakes",
    "generator_batch_multiple",
    lambda fakes, multiple: fakes == "shared" and multiple > 1,
    "G has more latents than the batch of D whose latents it would share",
    "--config.fakes=fresh or --config.generator_batch_multiple=1",
  ),
  Rule(
    "fakes",
    "generator_reals",
    lambda fakes, reals: fakes == "shared" and reals == "fresh",
    "the fakes of D's last batch have that batch's labels",
    "--config.fakes=fresh or --config.generator_reals=shared",
  ),
  Rule(
    "augment.name",
    "loss.name",
    lambda augment, loss: augment == "ada" and loss in UNCENTRED,
    "it reads the sign of D(x), and that loss leaves D's zero free",
    f"{typed('loss', name='non_saturating')} or {typed('augment', name='scheduled', p=0.2)}",
  ),
  *(
    Rule(
      f"penalties.{penalty}",
      "discriminator.batch_norm",
      lambda section, batch_norm: bool(batch_norm),
      "under BatchNorm D(x) depends on the whole batch and has no gradient of one image",
      "--config.discriminator.batch_norm=False or another discriminator",
    )
    for penalty in SLOPES
  ),
  *(
    Rule(
      f"penalties.{penalty}",
      "discriminator_passes",
      lambda section, passes: passes == 1,
      "a moved copy goes through D without the other half of the batch, and BatchNorm would tell it from its image",
      "--config.discriminator_passes=2, which is the same where there is no BatchNorm",
    )
    for penalty in COPIES
  ),
  *(
    Rule(
      f"penalties.{penalty}",
      "data.name",
      lambda section, data: data.kind != "images",
      "it moves and mirrors images, and these data are points, which it would leave as they are",
      "--config.penalties={} or another penalty",
    )
    for penalty in COPIES
  ),
  Rule(
    "augment.name",
    "data.name",
    lambda augment, data: augment != "none" and data.kind != "images",
    "it is for images, and these data are points",
    typed("augment", name="none"),
  ),
  Rule(
    "augment.name",
    "data.image_size",
    lambda augment, size: augment != "none" and min(size) < 2,
    "one line of pixels cannot be moved",
    typed("augment", name="none"),
  ),
  Rule(
    "conditioning.name",
    "data.name",
    lambda conditioning, data: conditioning != "none" and not data.num_classes,
    "it needs labels, and this data set has none",
    typed("conditioning", name="none"),
  ),
  *(
    Rule(
      "conditioning.name",
      "generator.name",
      _untaught(form),
      "D would see no label, and nothing would teach G what one means",
      " or ".join(typed("conditioning", name=name, generator=form) for name in ("projection", "auxiliary")),
    )
    for form in ("class_batch_norm", "concat")
  ),
  *(
    Rule(
      "conditioning.generator",
      "generator.name",
      _unable(form),
      f"this generator {lack}",
      f"--config.conditioning.generator=concat or one of the generators {_takers(form)}",
    )
    for form, lack in (("class_batch_norm", "has no BatchNorm"), ("embedding", "embeds no labels"))
  ),
  Rule(
    "conditioning.generator",
    "generator.widths",
    lambda form, widths: form == "class_batch_norm" and len(widths) < 2,
    "BatchNorm comes after each hidden layer but the first, and here there is none",
    '--config.generator.widths="(64, 64)", other widths, two or more, or another conditioning',
  ),
  *(
    Rule(
      f"{player}.name",
      "data.name",
      lambda network, data: data.kind != "images" and network in NETWORKS and bool(NETWORKS[network].sizes),
      "it is for images, and these data are points",
      " or ".join(typed(player, name=name) for name, network in NETWORKS.items() if not network.sizes),
    )
    for player in ("generator", "discriminator")
  ),
  *(
    Rule(
      f"{player}.name",
      "data.image_size",
      _unfit(sizes),
      f"it is for {sizes}",
      f"--config.data.image_size=32, another such size, or {typed(player, name='mlp')}",
    )
    for player in ("generator", "discriminator")
    for sizes in SIZES
  ),
)


def illegal(config: Any, spec: Spec) -> list[str]:
  """What does not go together in ``config`` for data of ``spec``, one line a pair: fields, values, why, the way out."""
  return clashes(RULES, values(config, spec))


def values(config: Any, spec: Spec) -> dict[str, Any]:
  """{field: value} of what rules may speak of, as it holds: a key that a section leaves out has its default here.

  A field that a config does not have, or whose section is none, is left out; the constructors know those mistakes.
  """
  plain = ("update_order", "n_critic", "fakes", "generator_reals", "generator_batch_multiple", "discriminator_passes")
  found = {field: config[field] for field in plain} | {"critic_warmup.updates": config.critic_warmup.updates}
  found |= {f"penalties.{name}": section for name, section in config.penalties.items()}
  names = ("loss", "augment", "conditioning", "generator", "discriminator")
  sections = {name: dict(config[name]) for name in names if hasattr(config[name], "items")}
  for name, section in sections.items():
    found |= {f"{name}.{key}": section[key] for key in ("name", "generator", "batch_norm", "widths") if key in section}
  conditioning, discriminator = found.get("conditioning.name"), found.get("discriminator.name")
  if conditioning in LABELS_OF_G:
    found.setdefault("conditioning.generator", LABELS_OF_G[conditioning])
  if discriminator in NETWORKS and NETWORKS[discriminator].batch_norm:
    found.setdefault("discriminator.batch_norm", True)
  found["data.name"] = Data(config.data.name, spec.kind, spec.num_classes)
  if spec.kind == "images":
    found["data.image_size"] = tuple(spec.image_shape[:2])
  return found
