"""The state of a density of latents, and what is trained: a module with a likelihood in closed form."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import random
from common.algorithm import Alarm
from common.data.spec import Spec
from common.ema import Ema
from common.state import NetState, apply_gradients, init_network
from common.types import Array, Batch, Mean, Metrics, PyTree

SMALLEST = 1e-6  # deviation of a latent that does not vary

Start = Callable[[PyTree, np.ndarray], PyTree]  # fresh parameters, standardised z [N, Z] -> parameters


class SamplerState(flax.struct.PyTreeNode):
  """The network, the number of steps taken, and the units that it knows z in, [Z] each."""

  step: Array
  net: NetState
  shift: Array
  scale: Array

  def standardised(self, z: Array) -> Array:
    """z [..., Z] in the network's units."""
    return (z - self.shift) / self.scale

  def latents(self, y: Array) -> Array:
    """The inverse of `standardised`."""
    return self.shift + self.scale * y

  def with_units(self, z: np.ndarray) -> "SamplerState":
    """In units of the mean and deviation of each of z [N, Z]."""
    return self.replace(shift=_like(self.shift, z.mean(axis=0)), scale=_like(self.scale, deviation(z)))


def deviation(z: np.ndarray) -> np.ndarray:
  """Of each of z [N, Z], `SMALLEST` at least."""
  return np.maximum(z.std(axis=0), SMALLEST)


def _like(old: Array, new: Any) -> Array:
  """``new`` on the devices of ``old``."""
  return jax.device_put(jnp.asarray(new, old.dtype), old.sharding)


@dataclasses.dataclass(frozen=True)
class Fitted:
  """A density fitted by maximum likelihood.

  Attributes:
    spec: of the latents.
    module: has ``log_prob(z [..., Z]) -> [...]`` and ``sample(rows keys [B]) -> [B, Z]``.
    standardise: whether it is given z of mean 0 and deviation 1.
    start_params: where the parameters start, from the latents; None: as the module initialises them.
  """

  spec: Spec
  module: nn.Module
  standardise: bool
  start_params: Start | None
  tx: optax.GradientTransformation
  ema: Ema
  axis_name: str | None

  batches_per_step = None
  exact = True
  alarms: tuple[Alarm, ...] = ()

  def init(self, rng: Array, batch: Batch) -> SamplerState:
    """As the module initialises it; of ``batch`` only the shapes matter."""
    z = flat(batch)
    net = init_network(self.module, self.tx, self.ema, rng, z, method="log_prob")
    return SamplerState(jnp.zeros((), jnp.int32), net, jnp.zeros(z.shape[1:]), jnp.ones(z.shape[1:]))

  def start(self, state: SamplerState, z: np.ndarray) -> SamplerState:
    """The fresh state with what it takes from the latents z [N, Z] before the first step."""
    if self.standardise:
      state = state.with_units(z)
    if self.start_params is None:
      return state
    params = self.start_params(state.net.params, (z - z.mean(axis=0)) / deviation(z))
    params = jax.tree.map(_like, state.net.params, params)
    return state.replace(net=state.net.replace(params=params, ema_params=self.ema.start(params)))

  def train_step(self, state: SamplerState, batch: Batch, rng: Array) -> tuple[SamplerState, Metrics]:
    """One step on the mean of -log p(z)."""

    def loss_fn(params: PyTree) -> tuple[Array, Array]:
      nll = -self._log_prob({"params": params}, state, flat(batch))
      return jnp.mean(nll), nll

    grads, nll = jax.grad(loss_fn, has_aux=True)(state.net.params)
    net, norms = apply_gradients(state.net, grads, self.tx, self.ema, axis_name=self.axis_name)
    return state.replace(step=state.step + 1, net=net), {"nll": Mean.of(nll), **norms}

  def eval_step(self, state: SamplerState, batch: Batch, rng: Array) -> Metrics:
    """ "nll", nats an image in the units of z."""
    rows = random.row_keys(rng, batch["index"])
    return {"nll": Mean.of(-self.log_density(state, flat(batch), rows), batch["mask"])}

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Nothing more."""
    return {}

  def _log_prob(self, variables: PyTree, state: SamplerState, z: Array) -> Array:
    log_p = self.module.apply(variables, state.standardised(z), method="log_prob")
    return log_p - jnp.sum(jnp.log(state.scale))

  def log_density(self, state: SamplerState, z: Array, rows: Array) -> Array:
    """log p(z) in nats, [B, Z], keys [B] that are not used -> [B]."""
    return self._log_prob(state.net.variables(ema=True), state, z)

  def draw(self, state: SamplerState, rows: Array) -> Array:
    """keys [B] -> z [B, Z]; row i depends on key i only."""
    return state.latents(self.module.apply(state.net.variables(ema=True), rows, method="sample"))


def flat(batch: Batch) -> Array:
  """The latents of a batch, [B, Z]."""
  z = batch["image"]
  return z.reshape(len(z), -1)
