"""The family "sampler": densities of latents with log p(z) in closed form, trained by maximum likelihood."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common import random
from common.algorithm import Alarm
from common.build import build
from common.data.dataset import Split
from common.data.spec import Spec
from common.ema import Ema, build_ema
from common.given import given_of
from common.optim import OPTIMIZERS, build_optimizer
from common.state import apply_gradients, init_network
from common.types import Array, Batch, Given, Mean, Metrics, PyTree
from vae.samplers.autoregressive import PixelCNN
from vae.samplers.coupling import CouplingFlow
from vae.samplers.density import Density
from vae.samplers.gmm import FullMixture
from vae.samplers.transformer import CodeTransformer
from vae.vae import VaeState

SAMPLERS: dict[str, Any] = {
  "gmm": FullMixture,
  "flow": CouplingFlow,
  "autoregressive": PixelCNN,
  "transformer": CodeTransformer,
}
TABLES: dict[str, Any] = {"sampler": SAMPLERS, "optim": OPTIMIZERS}


@dataclasses.dataclass(frozen=True)
class Fitted:
  """A density of the vectors of `common.data.latents`, in the units of that data set.

  Attributes:
    spec: the spec of the latents.
    module: the density.
  """

  spec: Spec
  module: Density
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  alarms: tuple[Alarm, ...] = ()

  def init(self, rng: Array, batch: Batch) -> VaeState:
    """The state as the module initialises it; ``batch`` gives shapes only."""
    net = init_network(self.module, self.tx, self.ema, rng, *self._rows(batch, rng), method="log_prob")
    return VaeState(jnp.zeros((), jnp.int32), net)

  def start(self, state: VaeState, train: Split) -> VaeState:
    """The fresh state; a mixture's parameters are those of clusters of the training latents."""
    if not isinstance(self.module, FullMixture):
      return state
    first = self.module.start_at(_flat(train.arrays()["image"]))
    params = jax.tree.map(lambda old, new: jax.device_put(jnp.float32(new), old.sharding), state.net.params, first)
    return state.replace(net=state.net.replace(params=params, ema_params=self.ema.start(params)))

  def train_step(self, state: VaeState, batch: Batch, rng: Array) -> tuple[VaeState, Metrics]:
    """One step on the mean of -log p(z)."""

    def loss_fn(params: PyTree) -> tuple[Array, Array]:
      nll = -self._log_prob({"params": params}, batch, rng, train=True)
      return jnp.mean(nll), nll

    grads, nll = jax.grad(loss_fn, has_aux=True)(state.net.params)
    net, norms = apply_gradients(state.net, grads, self.tx, self.ema, axis_name=self.axis_name)
    return state.replace(step=state.step + 1, net=net), {"nll": Mean.of(nll), **norms}

  def eval_step(self, state: VaeState, batch: Batch, rng: Array) -> Metrics:
    """Computes "nll", in nats per image, and of codes "bits_per_code"; masked codes have bounds of them."""
    nll = -self._log_prob(state.net.variables(ema=True), batch, rng, train=False)
    bits = nll / (math.log(2.0) * math.prod(self.spec.image_shape))
    figures = {"nll": nll} | ({"bits_per_code": bits} if "codes" in self.module.needs else {})
    return {name: Mean.of(value, batch["mask"]) for name, value in figures.items()}

  def _log_prob(self, variables: PyTree, batch: Batch, rng: Array, *, train: bool) -> Array:
    return self.module.apply(variables, *self._rows(batch, rng), train=train, method="log_prob")

  def _rows(self, batch: Batch, rng: Array) -> tuple[Array, Given, Array]:
    """What `Density.log_prob` takes: z, what it is given, and keys."""
    keys = random.row_keys(random.stream(rng, "z"), batch["index"])
    return _flat(batch["image"]), given_of(batch, self.module.rows), keys

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Adds no figures."""
    return {}


def _flat(z: Any) -> Any:
  """Latents [B, H, W, C] as vectors [B, Z]."""
  return z.reshape(len(z), -1)


def from_config(config: Any, spec: Spec, axis_name: str | None = None) -> Fitted:
  """The density that ``config`` names, for latents of ``spec``; no arrays are made.

  Raises:
    ConfigError: an unknown name, or arguments that it refuses.
  """
  shape = spec.image_shape
  context = {"num_classes": spec.num_classes, "vocabulary": spec.vocabulary}
  module = build(SAMPLERS, config.sampler, "sampler", z_dim=math.prod(shape), image_shape=shape, **context)
  tx, ema = build_optimizer(config.optim, "optim", config.train.grad_clip), build_ema(config.ema)
  return Fitted(spec, module, tx, ema, axis_name)
