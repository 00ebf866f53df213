"""Restoration by regression: a network maps what is left of an image to the image, and a pixel loss compares the two.

It is a family of its own. As a `Generative` it is given what is left, "seen", and has no latents: z is [B, 0].
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from common import random
from common.build import build, within
from common.data.degradations import Chain, build_degradation
from common.data.spec import Spec
from common.ema import Ema, build_ema
from common.errors import ConfigError
from common.optim import OPTIMIZERS, build_optimizer
from common.restoration.losses import LOSSES, PixelLoss
from common.restoration.networks import NETWORKS, build_network, triples
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Given, Images, Mean, Metrics, PyTree

TABLES: dict[str, Any] = {"model": NETWORKS, "loss": LOSSES, "optim": OPTIMIZERS}
LEAST_ERROR = 1e-10  # a mean squared error below it counts as this one: 100 dB


class RegressionState(flax.struct.PyTreeNode):
  """The network, and the number of steps so far."""

  step: Array
  net: NetState


@dataclasses.dataclass(frozen=True)
class Regression:
  """A network that restores, trained on the mean of ``loss``.

  Attributes:
    spec: describes the data.
    network: maps seen [B, h, w, c] to [B, H, W, C].
    loss: maps errors [B, H, W, C] to [B].
    degrade: makes of an image what its restored version is compared with in training; None: it is the image.
    tx: the optimizer.
    ema: how the averaged weights are kept.
    axis_name: the device axis, None for the global view.
  """

  spec: Spec
  network: nn.Module
  loss: PixelLoss
  degrade: Chain | None
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  alarms = ()
  given = ("seen",)
  has_prior = True
  normal_latents = True

  def init(self, rng: Array, batch: Batch) -> RegressionState:
    """Returns a fresh network; only the shapes of ``batch`` (leaves [B, ...]) matter."""
    with within("model"):
      net = init_network(self.network, self.tx, self.ema, rng, batch["seen"], train=True)
    return RegressionState(step=jnp.zeros((), jnp.int32), net=net)

  def train_step(self, state: RegressionState, batch: Batch, rng: Array) -> tuple[RegressionState, Metrics]:
    """Takes one step on the mean loss of the batch."""
    net, target = state.net, self._target(batch, rng)

    def loss_fn(params: PyTree) -> tuple[Array, Any]:
      variables = {"params": params, **net.mutable}
      restored, mutable = self.network.apply(variables, batch["seen"], train=True, mutable=["batch_stats"])
      losses = self.loss(restored - target)
      return jnp.mean(losses), (losses, restored, mutable)

    grads, (losses, restored, mutable) = jax.grad(loss_fn, has_aux=True)(net.params)
    net, norms = apply_gradients(net, grads, self.tx, self.ema, mutable=mutable, axis_name=self.axis_name)
    scores = {"loss": Mean.of(losses), "psnr": Mean.of(self._psnr(restored, batch["image"]))}
    return RegressionState(step=state.step + 1, net=net), {**scores, **norms}

  def eval_step(self, state: RegressionState, batch: Batch, rng: Array) -> Metrics:
    """Returns the loss and the PSNR in dB of the result, clipped and not rounded, beside the image."""
    restored, mask = self._restored(state, batch["seen"], ema=True), batch["mask"]
    losses, psnr = self.loss(restored - batch["image"]), self._psnr(restored, batch["image"])
    return {"loss": Mean.of(losses, mask), "psnr": Mean.of(psnr, mask)}

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    return {}

  def prior_sample(self, state: RegressionState, rng: Array, index: Array, given: Given = None) -> Array:
    """Returns no latents, [N, 0]."""
    return jnp.zeros((len(index), 0))

  def decode(self, state: RegressionState, z: Array, given: Given = None, *, ema: bool = True) -> Images:
    """Restores given["seen"] [N, h, w, c] -> [N, H, W, C]; of any size, if the network takes it."""
    assert given is not None
    return self._restored(state, jnp.asarray(given["seen"]), ema=ema)

  def visualize(self, state: RegressionState, batch: Batch, rng: Array) -> dict[str, Images]:
    """Returns "restored": triples of what is seen, enlarged to the image's size, of the result and of the image."""
    restored = self._restored(state, batch["seen"], ema=True)
    return {"restored": triples(batch["seen"], restored, batch["image"])}

  def _restored(self, state: RegressionState, seen: Array, *, ema: bool) -> Images:
    return self.network.apply(state.net.variables(ema=ema), seen, train=False)

  def _target(self, batch: Batch, rng: Array) -> Images:
    if self.degrade is None:
      return batch["image"]
    low, high = self.spec.pixel_range
    keys = random.row_keys(random.stream(rng, "target"), batch["index"])
    return low + (high - low) * self.degrade((batch["image"] - low) / (high - low), keys)

  def _psnr(self, restored: Images, image: Images) -> Array:
    """10 log10(range^2 / mean squared error) in dB, [B]."""
    low, high = self.spec.pixel_range
    error = jnp.mean((jnp.clip(restored, low, high) - image) ** 2, axis=(1, 2, 3)) / (high - low) ** 2
    return -10.0 * jnp.log10(jnp.maximum(error, LEAST_ERROR))


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> Regression:
  """Builds the regression of ``config`` for data of ``spec``, without any arrays.

  Raises:
    ConfigError: nothing is taken from the images, the network does not take what is left, or a section names no known
      choice.
  """
  bn_axis_name = axis_name if config.parallel.sync_batch_norm else None
  return Regression(
    spec=spec,
    network=build_network(config.model, "model", spec, bn_axis_name=bn_axis_name, dtype=config.dtype),
    loss=build(LOSSES, config.loss, "loss"),
    degrade=_degradation(config.data, spec) if config.target == "degraded" else None,
    tx=build_optimizer(config.optim, "optim", config.train.grad_clip),
    ema=build_ema(config.ema),
    axis_name=axis_name,
  )


def _degradation(data: Any, spec: Spec) -> Chain:
  """Returns the degradation, anew, for config.target="degraded"."""
  seen = next(row.shape for row in spec.rows if row.name == "seen")
  if seen != spec.image_shape:
    raise ConfigError(
      f'config.target="degraded" compares with a second degraded image, whose shape {seen} is not {spec.image_shape}; '
      "take --config.target=image"
    )
  return build_degradation(data.degradation, data.quantise)
