"""Conditioning: how networks are given labels, captions or what is left of an image, and the loss of a D that names
labels.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from common.data.degradations.resize import resized
from common.errors import ConfigError
from common.layers.basic import with_planes, with_values
from common.layers.text_encoder import TextEncoder
from common.layers.transformer import check_width
from common.types import Array, Images
from gan.networks.captioned import Captioned
from gan.networks.interface import DiscriminatorOutput, LabelHead

FORMS = ("class_batch_norm", "concat", "embedding", "fusion")  # in which G is given what D has a head for


@dataclasses.dataclass(frozen=True)
class Conditioning:
  """The form of what each player is given; the attributes that are not listed are arguments of `auxiliary`.

  Attributes:
    generator: "none"; "concat": the label as one-hot values beside z; "embedding": an embedding that G learns, beside
      z; "class_batch_norm": BatchNorm with a scale and a bias for each label; "fusion": a scale and a bias of every
      channel, from z and the values; "seen": what is left of an image, with z as constant feature maps behind it.
    discriminator: "none"; "concat": the label as one-hot feature maps beside x; "projection" and "auxiliary": see
      `LabelHead`; "joint": feature maps beside D's last one; "seen": what is left of the image, at its size, behind x.
    text: the encoder of captions, whose sentence vectors stand in the place of one-hot labels; None: there are none.
    mismatched: whether D learns to refuse real images beside captions of others.
  """

  num_classes: int = 0
  generator: str = "none"
  discriminator: str = "none"
  weight_d: float = 0.0
  weight_g: float = 0.0
  name_fakes: bool = False
  text: TextEncoder | None = None
  mismatched: bool = False

  def __post_init__(self):
    if self.discriminator in ("projection", "joint", "auxiliary") and self.generator not in FORMS:
      raise ConfigError(f'generator="{self.generator}" is not one of {", ".join(FORMS)}')

  @property
  def rows(self) -> tuple[str, ...]:
    """The rows of a batch that the networks are given."""
    if self.generator == "seen":
      return ("seen",)
    if self.text:
      return ("text",)
    return ("label",) if (self.generator, self.discriminator) != ("none", "none") else ()

  def vector(self, batch: Mapping[str, Any]) -> Array | None:
    """Turns the rows that the networks are given into the values that they see, None if they are given none.

    Labels become [B, K]; what is seen stays [B, h, w, c], and captions stay int32 [B, T].
    """
    if self.text:
      return jnp.asarray(batch["text"])
    if self.generator == "seen":
      return jnp.asarray(batch["seen"])
    return jax.nn.one_hot(batch["label"], self.num_classes) if self.rows else None

  def reading(self, network: nn.Module, *, of_z: bool) -> nn.Module:
    """Returns a network, of z or of images, with an encoder of captions of its own if it is given some."""
    return Captioned(network, self.text, of_z and self.generator == "concat") if self.text else network

  def context(self) -> dict[str, Any]:
    """Returns the arguments that the constructors of G and D may take."""
    head = self.discriminator in ("projection", "auxiliary")
    return {"label_head": LabelHead(self.discriminator, self.num_classes) if head else LabelHead()}

  def generator_inputs(self, z: Array, given: Array | None) -> tuple[Array, dict[str, Any]]:
    """Returns the arguments of G for z [B, Z] and what `vector` returns: z or images, and "given" if G takes it."""
    if self.generator == "seen":
      assert given is not None
      return with_planes(given, z), {}
    if self.generator == "concat" and not self.text:
      return with_values(z, given), {}
    return z, {} if self.generator == "none" else {"given": given}

  def discriminator_inputs(self, x: Images, given: Array | None) -> tuple[Images, dict[str, Any]]:
    """Returns the arguments of D for x [B, H, W, C] and what `vector` returns: x, and "given" if D takes it."""
    if self.discriminator == "seen":
      assert given is not None
      seen = given if given.shape[1:3] == x.shape[1:3] else resized(given, x.shape[1], x.shape[2])
      return jnp.concatenate([x, seen], axis=-1), {}
    if self.discriminator == "concat":
      return with_planes(x, given), {}
    return x, {"given": given} if self.discriminator in ("projection", "joint") else {}

  def discriminator_terms(
    self, on_real: DiscriminatorOutput, on_fake: DiscriminatorOutput, labels: Array
  ) -> dict[str, Array]:
    """Returns {name: [B]}, the terms of D's loss besides the adversarial one."""
    if self.discriminator != "auxiliary":
      return {}
    total = _cross_entropy(on_real, labels)
    if self.name_fakes:
      total = total + _cross_entropy(on_fake, labels)
    return {"class_loss": self.weight_d * total}

  def generator_terms(self, on_fake: DiscriminatorOutput, labels: Array) -> dict[str, Array]:
    """Returns {name: [B]}, the terms of G's loss besides the adversarial one."""
    return {"class_loss": self.weight_g * _cross_entropy(on_fake, labels)} if self.discriminator == "auxiliary" else {}


def _cross_entropy(output: DiscriminatorOutput, labels: Array) -> Array:
  """Returns -log P(label | image) in nats, [B]."""
  return optax.softmax_cross_entropy_with_integer_labels(output.class_logits, labels)


def none() -> Conditioning:
  """Labels are not used."""
  return Conditioning()


def concat(num_classes: int) -> Conditioning:
  """Adds one-hot values to z and one-hot feature maps to x (Mirza & Osindero 2014)."""
  return Conditioning(num_classes, "concat", "concat")


def projection(num_classes: int, generator: str = "class_batch_norm") -> Conditioning:
  """D adds <embed(y), features> to its logit (Miyato & Koyama 2018, Eq. 5); G has conditional BatchNorm.

  Args:
    num_classes: number of labels.
    generator: form in which G gets labels: class_batch_norm, concat or embedding.
  """
  return Conditioning(num_classes, generator, "projection")


def text(
  vocabulary: tuple[str, ...],
  generator: str = "class_batch_norm",
  discriminator: str = "projection",
  width: int = 128,
  layers: int = 2,
  heads: int = 4,
  mismatched: bool = True,
) -> Conditioning:
  """The sentence vector of a caption in the place of a label; each player reads captions by an encoder of its own.

  Args:
    vocabulary: the token of each number.
    generator: form in which G gets the vector: class_batch_norm, concat, embedding or fusion.
    discriminator: form in which D gets it: projection, as of a label, or joint (DF-GAN's, Tao et al. 2022).
    width: size of the sentence vector.
    layers: blocks of each encoder.
    heads: attention heads of each block.
    mismatched: whether D's loss is the mean of that against generated images and that against real ones beside the
      caption of the next row, as in DF-GAN (Tao et al. 2022, their code).
  """
  check_width(width, heads)
  if discriminator not in ("projection", "joint"):
    raise ConfigError(f'discriminator="{discriminator}" is not one of projection, joint')
  encoder = TextEncoder(len(vocabulary), width, layers, heads)
  return Conditioning(text=encoder, mismatched=mismatched, generator=generator, discriminator=discriminator)


def auxiliary(
  num_classes: int,
  generator: str = "concat",
  weight_d: float = 1.0,
  weight_g: float = 1.0,
  name_fakes: bool = True,
) -> Conditioning:
  """D names the label too, and its cross-entropy is added to both losses (Odena et al. 2017, Eq. 2 and 3).

  Gulrajani et al. 2017 have weights of 1 and 0.1, and D names real images only.

  Args:
    num_classes: number of labels.
    generator: form in which G gets labels: class_batch_norm, concat or embedding.
    weight_d: factor of the cross-entropy in D's loss.
    weight_g: factor of the cross-entropy in G's loss.
    name_fakes: whether D learns to name generated images too, as in Odena et al.
  """
  if not weight_d > 0 or weight_g < 0:
    raise ConfigError(f"weight_d={weight_d} must be above 0, and weight_g={weight_g} 0 or more")
  return Conditioning(num_classes, generator, "auxiliary", weight_d, weight_g, name_fakes)


def seen(pair: bool = True) -> Conditioning:
  """G restores an image from what config.data.degradation leaves of it, which D sees too (Isola et al. 2017, Eq. 1).

  Args:
    pair: whether D sees it; otherwise D judges the image alone, as in ESRGAN.
  """
  return Conditioning(generator="seen", discriminator="seen" if pair else "none")


CONDITIONING: dict[str, Callable[..., Conditioning]] = {
  "none": none,
  "concat": concat,
  "projection": projection,
  "text": text,
  "auxiliary": auxiliary,
  "seen": seen,
}
