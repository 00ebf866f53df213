"""The contracts between the trainer, the evaluator and a model family.

A family (``gan``, ``vae``, ``common.evaluation.features.classifier``) offers ``from_config(config, spec, axis_name)``,
which returns a frozen dataclass without arrays that is `Trainable`. The trainer needs no more than that.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from common.ema import Ema
from common.types import Array, Batch, Given, Images, Latents, Metrics, PyTree


@dataclasses.dataclass(frozen=True)
class Alarm:
  """A warning about the state of a run, raised by a rule on its logged metrics.

  Attributes:
    signal: describes the problem in a few words; unique to the alarm.
    metrics: names of the metrics that the rule reads, e.g. "train/d_loss".
    rule: called with each metric's values on the lines of the last ``window`` steps, float64 [n]; n is at least
      `FEWEST`: if the window has fewer lines, older ones are included.
    window: number of steps; the rule is not evaluated before this step.
    remedy: describes what usually helps.
  """

  signal: str
  metrics: tuple[str, ...]
  rule: Callable[..., Any]
  window: int
  remedy: str


S = TypeVar("S")  # a flax.struct dataclass of arrays with .step, the number of trainer steps taken
S_in = TypeVar("S_in", contravariant=True)


class Trainable(Protocol[S]):
  """The interface that the trainer requires.

  With ``batches_per_step`` None the leaves of a batch are [B, ...]; with n they are [n, B, ...], one batch for each
  discriminator update. A family may also have ``start(state, train)``, which returns the fresh state set up for the
  training split (`common.data.dataset.Split`).
  """

  @property
  def batches_per_step(self) -> int | None: ...

  @property
  def ema(self) -> Ema:
    """The rule of the parameter averages that `eval_step` uses."""
    ...

  @property
  def alarms(self) -> tuple[Alarm, ...]:
    """Warnings to evaluate on the logged metrics during training."""
    ...

  def init(self, rng: Array, batch: Batch) -> S:
    """Returns a fresh state; ``batch`` gives the shapes and, if ``starts_at_mean``, the mean training image."""
    ...

  def train_step(self, state: S, batch: Batch, rng: Array) -> tuple[S, Metrics]:
    """Takes one training step, as a pure function; ``rng`` already depends on (seed, step)."""
    ...

  def eval_step(self, state: S, batch: Batch, rng: Array) -> Metrics:
    """Scores one batch with the averaged weights; batch["mask"] is 0 on the padding rows of the last batch."""
    ...

  def summarize(self, means: Mapping[str, Any]) -> dict[str, float]:
    """Derives figures that are not linear in the metrics from the metrics' means over a split."""
    ...


@runtime_checkable
class Generative(Trainable[S], Protocol[S]):
  """A Trainable that can be sampled."""

  @property
  def given(self) -> tuple[str, ...]:
    """The rows of a batch that the model is given: () or ("label",)."""
    ...

  @property
  def has_prior(self) -> bool:
    """Whether the model has a prior over latents; an autoencoder has none and cannot be sampled by itself."""
    ...

  @property
  def normal_latents(self) -> bool:
    """Whether latents are arrays from N(0, I), so that they may be truncated."""
    ...

  def prior_sample(self, state: S, rng: Array, index: Array, given: Given = None) -> Latents:
    """Samples latents for the rows ``index`` [N]; row i depends on (rng, i, given's row i), not on the others.

    A prior that depends on what the model is given needs ``given``, [N, ...] each; others ignore it.
    """
    ...

  def decode(self, state: S, z: Latents, given: Given = None, *, ema: bool = True) -> Images:
    """Maps latents, and exactly the rows that the model is given, to images [N, H, W, C]."""
    ...

  def visualize(self, state: S, batch: Batch, rng: Array) -> dict[str, Images]:
    """Returns further images to look at, by name (for a VAE, reconstructions)."""
    ...


@runtime_checkable
class HasBatchStatistics(Protocol[S]):
  """A `Generative` whose BatchNorm can use other statistics than the running ones of training."""

  def batch_statistics(self, state: S, z: Latents, given: Given, *, ema: bool) -> PyTree:
    """Computes the mean and variance of each BatchNorm of `decode` over these latents.

    Raises:
      ConfigError: the model has no BatchNorm.
    """
    ...

  def with_statistics(self, state: S, statistics: PyTree) -> S:
    """Returns the state with these statistics in place of the running ones, for `decode`."""
    ...


@runtime_checkable
class LatentVariable(Protocol[S_in]):
  """The interface of likelihood metrics; every method uses the averaged weights and returns nats.

  k samples for the rows [B] of a batch have leading axes [k, B, ...]; sample i of a row depends on (rng, the row's
  index, i) only. The result for a row depends on that row only. z may be a tuple of layers. If the
  model is given rows, everything is conditional on them, as p(x|label) instead of p(x).
  """

  @property
  def given(self) -> tuple[str, ...]:
    """The rows of a batch that the model is given."""
    ...

  def posterior_sample(self, state: S_in, batch: Batch, rng: Array, k: int) -> tuple[Latents, Array]:
    """Draws k samples for each row: z [k, B, ...] and log q(z|x) [k, B]."""
    ...

  def prior_sample(self, state: S_in, rng: Array, index: Array, given: Given = None) -> Latents:
    """Draws one sample of p(z) for each row, [B, ...], as `Generative.prior_sample` does."""
    ...

  def log_likelihood(self, state: S_in, batch: Batch, z: Latents) -> Array:
    """Returns log p(x|z), [k, B] for z [k, B, ...]; differentiable in z."""
    ...

  def log_prior(self, state: S_in, batch: Batch, z: Latents) -> Array:
    """Returns log p(z), [k, B] for z [k, B, ...]; differentiable in z."""
    ...

  def bound_terms(self, state: S_in, batch: Batch, rng: Array, k: int) -> tuple[Array, dict[str, Array]]:
    """Returns -log p(x|z) of k samples and the rates by name, each [k, B]; in closed form if one exists."""
    ...

  def posterior_moments(self, state: S_in, batch: Batch) -> tuple[Array, Array]:
    """Returns mean and log-variance [B, Z] of a Gaussian q(z|x) with independent latents, layers in order along Z.

    Raises:
      ConfigError: q(z|x) is not such a Gaussian.
    """
    ...
