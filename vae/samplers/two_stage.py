"""A second VAE, of the latents of the first (Dai & Wipf 2019, arXiv:1903.05789, Section 4)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from common import random
from common.algorithm import Alarm
from common.data.spec import Spec
from common.ema import Ema
from common.types import Array, Batch, Metrics
from vae.model import LatentVariableModel
from vae.samplers.fitted import SamplerState, flat
from vae.vae import VAE, VaeState


@dataclasses.dataclass(frozen=True)
class SecondStage:
  """p(z) = integral of N(z; mean(u), sigma^2 I) N(u; 0, I) du, with one learned sigma; u has the size of z.

  Trained on z of mean 0 and deviation 1, which the paper's first stages nearly have and autoencoders need not.

  Attributes:
    vae: the VAE of such z, whose likelihood is a `SharedGaussian`.
  """

  vae: VAE

  batches_per_step = None
  exact = False  # log p(z) is bounded, not known

  @property
  def spec(self) -> Spec:
    return self.vae.spec

  @property
  def ema(self) -> Ema:
    return self.vae.ema

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    return self.vae.alarms

  def init(self, rng: Array, batch: Batch) -> SamplerState:
    """A fresh VAE."""
    state, size = self.vae.init(rng, batch), self.vae.spec.image_shape[-1]
    return SamplerState(state.step, state.net, jnp.zeros(size), jnp.ones(size))

  def start(self, state: SamplerState, z: np.ndarray) -> SamplerState:
    """The fresh state in the units of z [N, Z]."""
    return state.with_units(z)

  def train_step(self, state: SamplerState, batch: Batch, rng: Array) -> tuple[SamplerState, Metrics]:
    """One step of the VAE; its metrics are in the network's units of z."""
    new, metrics = self.vae.train_step(_of_vae(state), _standardised(state, batch), rng)
    return state.replace(step=new.step, net=new.net), metrics

  def eval_step(self, state: SamplerState, batch: Batch, rng: Array) -> Metrics:
    """As the VAE's, in the network's units of z."""
    return self.vae.eval_step(_of_vae(state), _standardised(state, batch), rng)

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """As the VAE's."""
    return self.vae.summarize(means)

  def log_density(self, state: SamplerState, z: Array, rows: Array) -> Array:
    """A lower bound of log p(z) in nats with one draw of u a row, [B, Z], keys [B] -> [B]."""
    x = state.standardised(z).reshape(-1, *self.spec.image_shape)
    variables = state.net.variables(ema=True)
    terms, _ = self.vae.network.apply(variables, x, jnp.zeros((len(x), 0)), rows, train=False, mutable=[])
    return -(terms.distortion + terms.rate) - jnp.sum(jnp.log(state.scale))

  def draw(self, state: SamplerState, rows: Array) -> Array:
    """keys [B] -> z [B, Z] with the likelihood's noise; row i depends on key i only."""

    def standardised(model: LatentVariableModel, rows: Array) -> Array:
      nothing = jnp.zeros((len(rows), 0))
      mean = flat({"image": model.mean_image(model.prior_sample(nothing, rows), nothing)})
      noise = random.normal(random.row_stream(rows, "likelihood"), mean.shape[1:])
      return mean + jnp.exp(0.5 * model.likelihood.log_var()) * noise

    return state.latents(self.vae.network.apply(state.net.variables(ema=True), rows, method=standardised))


def _of_vae(state: SamplerState) -> VaeState:
  return VaeState(step=state.step, net=state.net)


def _standardised(state: SamplerState, batch: Batch) -> dict[str, Array]:
  x = batch["image"]
  return {**batch, "image": state.standardised(flat(batch)).reshape(x.shape)}
