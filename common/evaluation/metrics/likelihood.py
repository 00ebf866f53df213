"""The contract of likelihood metrics, and the computation of a value for each image of a split on all devices.

The metrics are in bound.py, importance.py, annealed.py, latents.py and bits_per_dim.py.
"""

import dataclasses
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.algorithm import LatentVariable
from common.data.batches import EvalFeed, evaluation_batch
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.metrics.estimate import estimate
from common.evaluation.metrics.score import Score
from common.parallel import compile_step
from common.types import Array, Batch, PyTree

T = TypeVar("T")
ImageFunction = Callable[[PyTree, Batch, Array], PyTree]  # state, rows [B], key -> [B, ...]


@dataclasses.dataclass(frozen=True)
class Model:
  """The input of likelihood metrics.

  Attributes:
    algorithm: a model with latent variables.
    state: its state; ``dataclasses.replace(model, state=...)`` for the next one keeps what is compiled.
    spec: of its data.
    config: of its run; images are prepared and draws are seeded as `common.evaluation.validation.Evaluator` does.
    mesh: the devices.
    programs: the results of `compiled`.
  """

  algorithm: LatentVariable
  state: PyTree
  spec: Spec
  config: Any
  mesh: Mesh
  programs: dict[Hashable, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

  def __post_init__(self):
    if not isinstance(self.algorithm, LatentVariable):
      kind = type(self.algorithm).__name__
      raise ConfigError(
        f"likelihood metrics need a model with latent variables and a posterior, as a VAE; not a {kind}"
      )

  def check_density(self, metric: str) -> None:
    """Raises ConfigError, which names the metric, if log p(x) has no meaning."""
    if reason := no_density(self.config):
      raise ConfigError(
        f'{metric}: config.likelihood.name="{self.config.likelihood.name}" {reason}, so there is no log p(x) to '
        "estimate; train with a likelihood of these pixels, or take --metrics=bound for the terms of the loss"
      )
    if self.config.posterior.name in ("vector_quantized", "finite_scalar"):
      raise ConfigError(
        f'{metric}: config.posterior.name="{self.config.posterior.name}" has codes for z, and q(z|x) is a single one: '
        "draws of z do not lead to log p(x); take --metrics=bound, which bounds it"
      )

  def compiled(self, key: Hashable, make: Callable[[], T]) -> T:
    """Returns ``make()``, called once for each ``key``; the object must not hold the state."""
    if key not in self.programs:
      self.programs[key] = make()
    return self.programs[key]

  def per_image(self, key: Hashable, function: ImageFunction) -> "PerImage":
    """Returns ``function`` compiled for every image of a split, kept under ``key`` as `compiled` does."""
    return self.compiled(key, lambda: PerImage(function, self.spec, self.config, self.mesh))


def check_positive(metric: Any, *names: str) -> None:
  """Raises ConfigError unless the named settings of a metric are 1 or more."""
  for name in names:
    if getattr(metric, name) < 1:
      raise ConfigError(f"{name}={getattr(metric, name)} must be 1 or more")


def no_density(config: Any) -> str:
  """Says why the run's likelihood is no log-density or log-probability of its images; empty if it is one."""
  if config.likelihood.name == "bernoulli" and config.data.binarize == "none":
    return 'is a cross-entropy and no likelihood on grey values (config.data.binarize="none")'
  return ""


@dataclasses.dataclass(frozen=True)
class LikelihoodResult:
  """The result of a likelihood metric.

  Attributes:
    scores: by name.
    per_image: {name: [N]} in the order of the split, for `common.evaluation.metrics.estimate.paired_difference`.
    arrays: figures for each latent, or that describe the estimate.
  """

  scores: dict[str, Score]
  per_image: dict[str, np.ndarray]
  arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class LikelihoodMetric(Protocol):
  """A frozen dataclass whose fields are its settings, each with a default.

  Attributes:
    better: {name of a score: "min" or "max"}; "" for a score that is not a quality by itself.
  """

  @property
  def better(self) -> dict[str, str]: ...

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Returns the scores of the split of ``feed``; a draw depends on (config.seed, image's index, draw's number) only.

    Raises:
      ConfigError: the metric has no meaning for this model.
      ValueError: values that are not finite, or too few images.
    """
    ...


def mean_score(values: np.ndarray, method: str) -> Score:
  """Returns the mean of one value for each image, [N]; the number of images precedes ``method``.

  Raises:
    ValueError: as `common.evaluation.metrics.estimate.estimate`.
  """
  found = estimate(values)
  return Score(found.mean, found.standard_error, f"{found.count} images, {method}", freedom=found.count - 1)


def place(values: PyTree, position: Array, size: int) -> PyTree:
  """Puts a device's rows [b, ...] at their positions modulo ``size`` in a batch of zeros [size, ...].

  A compiled step sums its results over the devices, so that the sum has all rows in order.
  """
  return jax.tree.map(lambda rows: jnp.zeros((size, *rows.shape[1:]), rows.dtype).at[position % size].set(rows), values)


class PerImage:
  """Evaluates ``function`` for every image of a split on all devices; compiled once for each batch size.

  Args:
    function: (state, batch of leaves [B, ...], key) -> arrays [B, ...]; row i must depend on row i of the batch and the
      key only. It receives one device's rows.
    spec: of the data.
    config: of the run.
    mesh: the devices; each takes its share of a batch.
  """

  def __init__(self, function: ImageFunction, spec: Spec, config: Any, mesh: Mesh):
    def step(state: PyTree, data: PyTree, inputs: PyTree) -> tuple[tuple[()], PyTree]:
      batch, rng = evaluation_batch(data, inputs, spec, config)
      index = batch["index"]
      values = function(state, batch, rng)
      return (), place((values, batch["mask"]), index, len(index) * mesh.size)

    # In the global view, a loop over images on several devices would move all of them to each device.
    self.step = compile_step(step, mesh, "shard_map", batch_axis=EvalFeed.batch_axis, donate=False)

  def batch(self, state: PyTree, data: PyTree, inputs: PyTree) -> PyTree:
    """Returns the values of one batch of inputs, as numpy [B, ...] without the padding."""
    values, mask = jax.device_get(self.step(state, data, inputs)[1])
    return jax.tree.map(lambda rows: rows[mask > 0], values)

  def __call__(self, state: PyTree, feed: EvalFeed) -> PyTree:
    """Returns the values of all images of the split in its order, [N, ...]."""
    batches = (self.batch(state, feed.data, inputs) for inputs in feed)
    return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
