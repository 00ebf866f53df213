"""A restoration model without training: a fixed convolution of what it is given, enlarged by whole pixels."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.data.spec import RowType
from common.ema import NO_EMA
from experiments.loading import TrainedRun

REACH = 2  # pixels of the input that a pixel of the result sees on each side


@dataclasses.dataclass(frozen=True)
class Convolution:
  """Enlarges by ``scale`` and averages with zeros around the picture; z, of ``z_dim``, is added to the whole picture.

  With ``size`` it takes pictures of that size only; with ``follows`` z is moved by the mean of what is seen.
  """

  scale: int = 2
  z_dim: int = 0
  channels: int = 3
  size: int = 0
  follows: bool = False
  given: tuple[str, ...] = ("seen",)
  has_prior = normal_latents = True
  batches_per_step = None
  alarms = ()
  ema = NO_EMA

  def init(self, rng: Any, batch: Any) -> Any: ...
  def train_step(self, state: Any, batch: Any, rng: Any) -> Any: ...
  def eval_step(self, state: Any, batch: Any, rng: Any) -> Any: ...
  def summarize(self, means: Any) -> Any: ...
  def visualize(self, state: Any, batch: Any, rng: Any) -> Any: ...

  def prior_sample(self, state: Any, rng: Any, index: Any, given: Any = None) -> Any:
    z = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(rng, i), (self.z_dim,)))(index)
    return z + jnp.mean(given["seen"], axis=(1, 2, 3))[:, None] if self.follows else z

  def decode(self, state: Any, z: Any, given: Any = None, *, ema: bool = True) -> Any:
    x = given["seen"]
    x = jnp.repeat(x, self.channels, axis=-1) if x.shape[-1] == 1 else x[..., : self.channels]
    if self.size and x.shape[1] != self.size:
      raise ValueError("another size")
    x = x.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
    side = 2 * REACH * self.scale - 1
    kernel = jnp.asarray(state).reshape(side, side, 1, 1)
    x = jnp.moveaxis(x, -1, 0)[..., None]
    x = jax.vmap(
      lambda plane: jax.lax.conv_general_dilated(
        plane, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
      )
    )(x)
    return jnp.moveaxis(x[..., 0], 0, -1) + 0.1 * jnp.sum(z, axis=-1)[:, None, None, None]


def run_of(
  scale: int = 2,
  z_dim: int = 0,
  channels: int = 3,
  size: int = 0,
  *,
  mask: bool = False,
  grey: bool = False,
  follows: bool = False,
) -> TrainedRun:
  """Returns a run of the convolution, trained on 16x16 pictures; ``grey`` is given one channel."""

  side = 2 * REACH * scale - 1
  kernel = np.random.default_rng(0).uniform(size=side**2).astype(np.float32)
  low = size or 16
  seen = (low, low, 1 if grey else channels + mask)
  spec: Any = SimpleNamespace(
    image_shape=(low * scale, low * scale, channels),
    pixel_range=(0.0, 1.0),
    kind="images",
    rows=(RowType("seen", seen, "float32"),),
    labels=(),
  )
  config: Any = SimpleNamespace(family="regression")
  return TrainedRun(config, spec, Convolution(scale, z_dim, channels, size, follows), kernel / kernel.sum(), 3, ())


@dataclasses.dataclass(frozen=True)
class Linear(Convolution):
  """Draws 8x8 pictures that are linear in z, brighter by a tenth for each label."""

  z_dim: int = 3
  given: tuple[str, ...] = ()
  has_prior: bool = True
  normal_latents: bool = True

  def decode(self, state: Any, z: Any, given: Any = None, *, ema: bool = True) -> Any:
    images = 0.5 + (z @ state).reshape(-1, 8, 8, 1)
    return images if given is None else images + 0.1 * given["label"][:, None, None, None]


def prior_of(**model: Any) -> TrainedRun:
  """Returns a run of the linear pictures, with two labels if ``model`` is given labels."""
  state = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32) * 0.1
  spec: Any = SimpleNamespace(image_shape=(8, 8, 1), pixel_range=(0.0, 1.0), kind="images", labels=(0, 1))
  config: Any = SimpleNamespace(family="gan", data=SimpleNamespace(resize="stretch"))
  return TrainedRun(config, spec, Linear(**model), state, 3, ())
