"""Content terms of G's loss by name: how far a picture is from the real one of its row, [B]."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
from jax import lax

from common.data.degradations.filters import sharpened
from common.errors import ConfigError
from common.restoration.losses import PixelLoss, charbonnier, l1, l2
from common.types import Array, Images
from gan.networks.interface import DiscriminatorOutput

if TYPE_CHECKING:  # a start without perceptual terms does not wait for extractors
  from common.evaluation.features.extractor import Extractor


class Compared(NamedTuple):
  """The arguments of a term: images [B, H, W, C], and the outputs of D for them."""

  fake: Images
  real: Images
  on_fake: DiscriminatorOutput
  on_real: DiscriminatorOutput


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
  """A term that is added to G's loss for each pair of a picture and the real one of its row.

  Attributes:
    weight: factor of the term; that of the adversarial loss is 1.
  """

  weight: float

  def __post_init__(self) -> None:
    if not self.weight > 0:
      raise ConfigError(f"weight={self.weight} must be above 0; leave the term out for none")

  def __call__(self, compared: Compared) -> Array:
    """Returns the term without its weight, [B]."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels(Content):
  """A term that compares values of pixels.

  Attributes:
    sharpen: whether the real picture is sharpened first, as in Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).
  """

  pixel_range: tuple[float, float]
  sharpen: bool = False

  def target(self, real: Images) -> Images:
    """Returns the real pictures as the term compares with them."""
    if not self.sharpen:
      return real
    low, high = self.pixel_range
    return low + (high - low) * sharpened((real - low) / (high - low))

  def loss(self) -> PixelLoss:
    raise NotImplementedError

  def __call__(self, compared: Compared) -> Array:
    return self.loss()(compared.fake - self.target(compared.real))


class L1(Pixels):
  """The mean of |e| over an image's values (Isola et al. 2017, Eq. 3)."""

  def loss(self) -> PixelLoss:
    return l1()


class L2(Pixels):
  """The mean of e^2 over an image's values (Pathak et al. 2016, Eq. 1)."""

  def loss(self) -> PixelLoss:
    return l2()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charbonnier(Pixels):
  """The mean of sqrt(e^2 + epsilon^2) over an image's values (Lai et al. 2017, with epsilon 1e-3).

  Attributes:
    epsilon: the error in the units of the pixel range below which the loss is quadratic.
  """

  epsilon: float = 1e-3

  def loss(self) -> PixelLoss:
    return charbonnier(self.epsilon)


class Features(Content):
  """The mean over D's layers of the mean |f(real) - f(fake)| in each (Wang et al. 2018, arXiv:1711.11585, Eq. 4).

  A discriminator that shows no layers is compared by the input of its last one.
  """

  def __call__(self, compared: Compared) -> Array:
    on_real, on_fake = (output.layers or (output.features,) for output in (compared.on_real, compared.on_fake))
    # Where D has BatchNorm, its output on real images does not depend on G either.
    return sum(map(_mean_distance, on_fake, lax.stop_gradient(on_real)), start=jnp.zeros(())) / len(on_fake)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perceptual(Pixels):
  """The mean |f(real) - f(fake)| of an extractor's features (Johnson et al. 2016, Eq. 2, with absolute values).

  Attributes:
    features: the extractor, as in config.evaluate.features; scores must come from another one.
  """

  features: str
  image_shape: tuple[int, int, int]
  dataset: str

  @functools.cached_property
  def _extractor(self) -> "Extractor":
    """Opened by the first step that is traced: sampling needs no extractor."""
    from common.evaluation.features.extractor import Context, Extractor, open_extractor

    field = "content.perceptual.features"
    try:
      extractor = open_extractor(self.features, Context(self.image_shape, "images", self.dataset))
    except ConfigError as error:
      raise ConfigError(f"config.{field}: {str(error).replace('evaluate.features', field)}") from None
    if extractor.prepare is not Extractor.prepare:
      raise ConfigError(
        f'config.{field}="{self.features}" prepares images outside of the compiled step, and has no gradient; take '
        f"--config.{field}=random or a function of your own, MODULE:FUNCTION"
      )
    return extractor

  def __call__(self, compared: Compared) -> Array:
    low, high = self.pixel_range

    def features(x: Images) -> Array:
      return self._extractor.apply(self._extractor.variables, 255.0 * (x - low) / (high - low))[0]

    return _mean_distance(features(compared.fake), features(self.target(compared.real)))


def _mean_distance(x: Array, y: Array) -> Array:
  return jnp.mean(jnp.abs(x - y), axis=tuple(range(1, x.ndim)))


CONTENT: dict[str, Callable[..., Content]] = {
  "l1": L1,
  "l2": L2,
  "charbonnier": Charbonnier,
  "features": Features,
  "perceptual": Perceptual,
}
