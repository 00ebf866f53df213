"""The interface of the networks: image sizes, the input of a generator, the output of a discriminator."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax.numpy as jnp

from common import random
from common.errors import ConfigError
from common.types import Array


class Sizes(NamedTuple):
  """Image sizes that a network takes; one without ``sizes`` takes any, and points.

  Attributes:
    words: the rule.
    least: pixels of the shorter side, at least.
    factor: maps the shorter side to the number that divides both.
  """

  words: str
  least: int
  factor: Callable[[int], int]

  def fits(self, height: int, width: int) -> bool:
    shorter = min(height, width)
    return shorter >= self.least and not any(side % self.factor(shorter) for side in (height, width))

  def way_out(self, height: int, width: int) -> str:
    """Returns the flags that set the next larger size."""
    height, width = (max(side, self.least) for side in (height, width))
    while not self.fits(height, width):
      factor = self.factor(min(height, width))
      height, width = (side + -side % factor for side in (height, width))
    wide = f" and --config.data.image_width={width}" if width != height else ""
    return f"--config.data.image_size={height}{wide}"

  def check(self, image_shape: tuple[int, int, int]) -> None:
    """Raises ConfigError for an image of another size."""
    height, width, _ = image_shape
    if not self.fits(height, width):
      raise ConfigError(f"this network is for {self.words}, not {height}x{width}; take {self.way_out(height, width)}")


def _halvings(shorter: int) -> int:
  """Returns how often a side is halved until it has 4 to 7 pixels."""
  return (shorter // 4).bit_length() - 1


DOUBLED = Sizes(
  "images whose shorter side is 4, 5, 6 or 7 times a power of two that divides both sides, as 32x32 or 48x64",
  least=8,
  factor=lambda shorter: 2 ** _halvings(shorter),
)
FOURS = Sizes("multiples of 4 pixels", least=4, factor=lambda shorter: 4)


def num_doublings(image_shape: tuple[int, int, int]) -> int:
  """Returns how often a base is doubled to make the image; raises ConfigError unless its size is one of DOUBLED."""
  DOUBLED.check(image_shape)
  return _halvings(min(image_shape[:2]))


def base_of(image_shape: tuple[int, int, int]) -> tuple[int, int]:
  """Returns height and width of the base that is doubled to make the image: 4x4 of squares of 8, 16, 32 ... pixels."""
  height, width = (side >> num_doublings(image_shape) for side in image_shape[:2])
  return height, width


@dataclasses.dataclass(frozen=True)
class Latents:
  """Independent latents of one distribution, which z_dim and z_prior of the config name."""

  size: int
  prior: str

  def draw(self, rng: Array, index: Array) -> Array:
    """Returns z [B, size] for the rows ``index`` [B]; row i depends on (rng, i) only."""
    keys = random.row_keys(random.stream(rng, "z"), index)
    if self.prior == "normal":
      return random.normal(keys, (self.size,))
    bound = {"uniform": 1.0, "standard_uniform": 3.0**0.5}[self.prior]
    return random.uniform(keys, (self.size,), -bound, bound)


class DiscriminatorOutput(flax.struct.PyTreeNode):
  """The output of D.

  Attributes:
    logits: before the sigmoid; [B], or [B, h, w] of patches.
    features: the input of the last layer, [B, F].
    class_logits: [B, K], or None.
    layers: activations [B, h, w, C] of the layers before, of a network that shows them.
  """

  logits: Array
  features: Array
  class_logits: Array | None = None
  layers: tuple[Array, ...] = ()


def _plain(layer: nn.Module) -> nn.Module:
  return layer


@dataclasses.dataclass(frozen=True)
class LabelHead:
  """The part of a discriminator that relates its features to labels; config.conditioning chooses it.

  Attributes:
    form: "none"; "projection": <embed(y), features> is added to the logits (Miyato & Koyama 2018, Eq. 5); "auxiliary":
      a dense layer maps the features to class_logits (Odena et al. 2017).
    num_classes: number of labels; only "auxiliary" uses it.
  """

  form: str = "none"
  num_classes: int = 0

  def __call__(
    self,
    logits: Array,
    features: Array,
    given: Array | None,
    kernel_init: Callable[..., Array],
    normalized: Callable[[nn.Module], Any] = _plain,
  ) -> DiscriminatorOutput:
    """Completes the output; called at the end of a compact method, which then owns the layers.

    Args:
      logits: [B], from the image alone.
      features: [B, F].
      given: [B, K] for a projection, the label as one-hot values.
      kernel_init: initializer of the weights.
      normalized: wrapper of each layer, such as `SpectralNorm`.
    """
    class_logits = None
    if self.form == "projection":
      embed = nn.Dense(features.shape[-1], use_bias=False, kernel_init=kernel_init, name="label_embedding")
      logits = logits + jnp.sum(normalized(embed)(given) * features, axis=-1)
    elif self.form == "auxiliary":
      classify = nn.Dense(self.num_classes, kernel_init=kernel_init, name="label_classifier")
      class_logits = normalized(classify)(features)
    return DiscriminatorOutput(logits=logits, features=features, class_logits=class_logits)
