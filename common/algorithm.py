"""The contracts between the trainer, the evaluator and a model family.

A family (``gan``, ``vae``, ``common.evaluation.features.classifier``) offers ``from_config(config, spec, axis_name)``,
which returns a frozen dataclass without arrays that is `Trainable`. The trainer needs no more than that.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from common.ema import Ema
from common.types import Array, Batch, Images, Latents, Metrics, PyTree


@dataclasses.dataclass(frozen=True)
class Alarm:
  """A state of a run that a person should know of.

  Attributes:
    signal: what is wrong, in a few words; alarms are told apart by it.
    metrics: what the rule reads, as in "train/d_loss".
    rule: takes for each of these its values on the lines of the last ``window`` steps, float64 [n]; n is `FEWEST` at
      least, older lines included where these are fewer.
    window: in steps; nothing is judged before the first so many.
    remedy: what usually helps.
  """

  signal: str
  metrics: tuple[str, ...]
  rule: Callable[..., Any]
  window: int
  remedy: str


S = TypeVar("S")  # a flax.struct dataclass of arrays with .step, the number of trainer steps taken
S_in = TypeVar("S_in", contravariant=True)


class Trainable(Protocol[S]):
  """What the trainer needs.

  ``batches_per_step`` None: a batch's leaves are [B, ...]; n: they are [n, B, ...], one for each discriminator update.
  """

  @property
  def batches_per_step(self) -> int | None: ...

  @property
  def ema(self) -> Ema:
    """How the averages of parameters are kept that `eval_step` uses."""
    ...

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    """What a person should know of while it trains, judged on its logged metrics."""
    ...

  def init(self, rng: Array, batch: Batch) -> S:
    """A fresh state; ``batch`` gives shapes only, and where ``starts_at_mean`` the mean training image."""
    ...

  def train_step(self, state: S, batch: Batch, rng: Array) -> tuple[S, Metrics]:
    """One pure step; ``rng`` is already a function of (seed, step)."""
    ...

  def eval_step(self, state: S, batch: Batch, rng: Array) -> Metrics:
    """Scores on one batch with the EMA weights; batch["mask"] is 0 on the padding of the last one."""
    ...

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Figures that are not linear in the metrics, from their means over a split."""
    ...


@runtime_checkable
class Generative(Trainable[S], Protocol[S]):
  """A Trainable that makes pictures."""

  @property
  def conditional(self) -> bool: ...

  @property
  def has_prior(self) -> bool:
    """Whether it says how latents are distributed; an autoencoder does not, and draws nothing by itself."""
    ...

  @property
  def normal_latents(self) -> bool:
    """Whether latents are arrays from N(0, I), which may then be truncated."""
    ...

  def prior_sample(self, state: S, rng: Array, index: Array) -> Latents:
    """Latents of the rows ``index`` [N]; row i depends on (rng, i) only, whatever else is in the batch."""
    ...

  def decode(self, state: S, z: Latents, labels: Array | None = None, *, ema: bool = True) -> Images:
    """Pictures [N, H, W, C] of the latents."""
    ...

  def visualize(self, state: S, batch: Batch, rng: Array) -> dict[str, Images]:
    """Further pictures worth a look, by name (for a VAE, reconstructions)."""
    ...


@runtime_checkable
class HasBatchStatistics(Protocol[S]):
  """A `Generative` whose BatchNorm may judge by other statistics than the running ones of training."""

  def batch_statistics(self, state: S, z: Latents, labels: Array | None, *, ema: bool) -> PyTree:
    """Mean and variance of each BatchNorm of `decode` over these latents.

    Raises:
      ConfigError: there is no BatchNorm in it.
    """
    ...

  def with_statistics(self, state: S, statistics: PyTree) -> S:
    """The state with these in the place of the running ones, for `decode`."""
    ...


@runtime_checkable
class LatentVariable(Protocol[S_in]):
  """What likelihood metrics need, all with the averaged weights and in nats.

  k draws of the rows [B] of a batch have leading axes [k, B, ...]; draw i of a row depends on (rng, the row's index, i)
  only. What a method gives for a row depends on that row only. z may be a tuple of layers. A `Generative.conditional`
  model has all this given the rows' labels: p(x|label) in the place of p(x).
  """

  def posterior_sample(self, state: S_in, batch: Batch, rng: Array, k: int) -> tuple[Latents, Array]:
    """k draws for each row: z [k, B, ...] and log q(z|x) [k, B]."""
    ...

  def prior_sample(self, state: S_in, rng: Array, index: Array) -> Latents:
    """One draw of p(z) for each row, as `Generative.prior_sample`: [B, ...]."""
    ...

  def log_likelihood(self, state: S_in, batch: Batch, z: Latents) -> Array:
    """log p(x|z), [k, B] for z [k, B, ...]; may be differentiated in z."""
    ...

  def log_prior(self, state: S_in, z: Latents) -> Array:
    """log p(z), [k, B] for z [k, B, ...]; may be differentiated in z."""
    ...

  def bound_terms(self, state: S_in, batch: Batch, rng: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """The distortion -log p(x|z) of k draws and the rates by name, each [k, B]; in closed form where there is one."""
    ...

  def posterior_moments(self, state: S_in, batch: Batch) -> tuple[Array, Array]:
    """Mean and log-variance [B, Z] of q(z|x), a Gaussian of independent latents; Z runs over the layers in order.

    Raises:
      ConfigError: q(z|x) is none.
    """
    ...
