"""How labels reach the two networks, and what a discriminator that names them adds to the losses."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.errors import ConfigError
from common.layers.basic import with_planes
from common.types import Array, Images
from gan.networks.interface import DiscriminatorOutput, LabelHead


@dataclasses.dataclass(frozen=True)
class Conditioning:
  """A form for each player.

  Attributes:
    num_classes: of the labels.
    generator: "none"; "concat": the label as one-hot values beside z; "embedding": an embedding that G learns, beside
      z; "class_batch_norm": BatchNorm with a scale and a bias for each label.
    discriminator: "none"; "concat": the label as one-hot feature maps beside x; "projection" and "auxiliary": see
      `LabelHead`.
    weight_d: of the auxiliary classifier's cross-entropy in D's loss.
    weight_g: and in G's.
    name_fakes: whether D learns to name generated images too.
  """

  num_classes: int = 0
  generator: str = "none"
  discriminator: str = "none"
  weight_d: float = 0.0
  weight_g: float = 0.0
  name_fakes: bool = False

  @property
  def conditional(self) -> bool:
    return (self.generator, self.discriminator) != ("none", "none")

  def generator_context(self) -> dict[str, Any]:
    """What the constructor of G must know."""
    return {
      "norm_classes": self.num_classes if self.generator == "class_batch_norm" else 0,
      "embedding_classes": self.num_classes if self.generator == "embedding" else 0,
    }

  def discriminator_context(self) -> dict[str, Any]:
    """What the constructor of D must know."""
    head = self.discriminator in ("projection", "auxiliary")
    return {"label_head": LabelHead(self.discriminator, self.num_classes) if head else LabelHead()}

  def generator_inputs(self, z: Array, labels: Array | None) -> tuple[Array, dict[str, Any]]:
    """z [B, Z], labels [B] -> what G is called with: z, and "labels" where it is made for them."""
    if self.generator == "concat":
      return jnp.concatenate([z, jax.nn.one_hot(labels, self.num_classes)], axis=-1), {}
    return z, {} if self.generator == "none" else {"labels": labels}

  def discriminator_inputs(self, x: Images, labels: Array | None) -> tuple[Images, dict[str, Any]]:
    """x [B, H, W, C], labels [B] -> what D is called with: x, and "labels" where it is made for them."""
    if self.discriminator == "concat":
      return with_planes(x, jax.nn.one_hot(labels, self.num_classes)), {}
    return x, {"labels": labels} if self.discriminator == "projection" else {}

  def discriminator_terms(
    self, on_real: DiscriminatorOutput, on_fake: DiscriminatorOutput, labels: Array
  ) -> dict[str, Array]:
    """{name: [B]} that D's loss has besides the adversarial one."""
    if self.discriminator != "auxiliary":
      return {}
    total = _cross_entropy(on_real, labels)
    if self.name_fakes:
      total = total + _cross_entropy(on_fake, labels)
    return {"class_loss": self.weight_d * total}

  def generator_terms(self, on_fake: DiscriminatorOutput, labels: Array) -> dict[str, Array]:
    """{name: [B]} that G's loss has besides the adversarial one."""
    if self.discriminator != "auxiliary":
      return {}
    return {"class_loss": self.weight_g * _cross_entropy(on_fake, labels)}


def _cross_entropy(output: DiscriminatorOutput, labels: Array) -> Array:
  """-log P(label | image) in nats, [B]."""
  return optax.softmax_cross_entropy_with_integer_labels(output.class_logits, labels)


def none() -> Conditioning:
  """Labels are not used."""
  return Conditioning()


def concat(num_classes: int) -> Conditioning:
  """One-hot values beside z, and one-hot feature maps beside x (Mirza & Osindero 2014)."""
  return Conditioning(num_classes, "concat", "concat")


def projection(num_classes: int, generator: str = "class_batch_norm") -> Conditioning:
  """D adds <embed(y), features> to its logit (Miyato & Koyama 2018, Eq. 5); G has conditional BatchNorm.

  Args:
    num_classes: of the labels.
    generator: class_batch_norm, concat or embedding: how G gets them.
  """
  return Conditioning(num_classes, _of_generator(generator), "projection")


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
    num_classes: of the labels.
    generator: class_batch_norm, concat or embedding: how G gets them.
    weight_d: of the cross-entropy in D's loss.
    weight_g: of the cross-entropy in G's loss.
    name_fakes: whether D learns to name generated images too, as Odena et al. have it.
  """
  if not weight_d > 0 or weight_g < 0:
    raise ConfigError(f"weight_d={weight_d} must be above 0, and weight_g={weight_g} 0 or more")
  return Conditioning(num_classes, _of_generator(generator), "auxiliary", weight_d, weight_g, name_fakes)


def _of_generator(form: str) -> str:
  choices = ("class_batch_norm", "concat", "embedding")
  if form not in choices:
    raise ConfigError(f'generator="{form}" is not one of {", ".join(choices)}')
  return form


CONDITIONING: dict[str, Callable[..., Conditioning]] = {
  "none": none,
  "concat": concat,
  "projection": projection,
  "auxiliary": auxiliary,
}
