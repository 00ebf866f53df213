"""A density of latents that is trained by maximum likelihood: a module with log p(z) in closed form."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.algorithm import Alarm
from common.data.spec import Spec
from common.ema import Ema
from common.state import apply_gradients, init_network
from common.types import Array, Batch, Mean, Metrics, PyTree
from vae.vae import VaeState

Start = Callable[[PyTree, np.ndarray], PyTree]  # fresh parameters, z [N, Z] -> parameters


@dataclasses.dataclass(frozen=True)
class Fitted:
  """A density of the vectors of `common.data.latents`, in the units of that data set.

  Attributes:
    spec: the spec of the latents.
    module: has ``log_prob(z [..., Z]) -> [...]`` and ``sample(keys [B]) -> [B, Z]``.
    start_params: gives the first parameters from the latents; None: as the module initialises them.
  """

  spec: Spec
  module: nn.Module
  start_params: Start | None
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  alarms: tuple[Alarm, ...] = ()

  def init(self, rng: Array, batch: Batch) -> VaeState:
    """The state as the module initialises it; ``batch`` gives shapes only."""
    net = init_network(self.module, self.tx, self.ema, rng, _flat(batch), method="log_prob")
    return VaeState(jnp.zeros((), jnp.int32), net)

  def start(self, state: VaeState, z: np.ndarray) -> VaeState:
    """The fresh state with the parameters that `start_params` gives for the training latents z [N, Z]."""
    if self.start_params is None:
      return state
    params = jax.tree.map(_like, state.net.params, self.start_params(state.net.params, z))
    return state.replace(net=state.net.replace(params=params, ema_params=self.ema.start(params)))

  def train_step(self, state: VaeState, batch: Batch, rng: Array) -> tuple[VaeState, Metrics]:
    """One step on the mean of -log p(z)."""

    def loss_fn(params: PyTree) -> tuple[Array, Array]:
      nll = -self.module.apply({"params": params}, _flat(batch), method="log_prob")
      return jnp.mean(nll), nll

    grads, nll = jax.grad(loss_fn, has_aux=True)(state.net.params)
    net, norms = apply_gradients(state.net, grads, self.tx, self.ema, axis_name=self.axis_name)
    return state.replace(step=state.step + 1, net=net), {"nll": Mean.of(nll), **norms}

  def eval_step(self, state: VaeState, batch: Batch, rng: Array) -> Metrics:
    """Computes "nll", in nats an image."""
    log_p = self.module.apply(state.net.variables(ema=True), _flat(batch), method="log_prob")
    return {"nll": Mean.of(-log_p, batch["mask"])}

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Adds no figures."""
    return {}


def _flat(batch: Batch) -> Array:
  """The latents of a batch, [B, Z]."""
  z = batch["image"]
  return z.reshape(len(z), -1)


def _like(old: Array, new: Any) -> Array:
  """``new`` on the devices of ``old``."""
  return jax.device_put(jnp.asarray(new, old.dtype), old.sharding)
