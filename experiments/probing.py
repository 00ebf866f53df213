"""A linear classifier on what the convolutions of a run's discriminator, or encoder, pass on."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.data.dataset import Split
from common.errors import ConfigError
from common.evaluation import linear_svm
from common.evaluation.features.embed import Embedder
from common.evaluation.features.extractor import Extractor
from common.evaluation.features.passed_on import GRID, passed_on, pooled
from common.evaluation.metrics.labels import share
from common.evaluation.records import Protocol, ScoreRecord
from common.training.log import Status
from common.training.program import make_state, quick_compilation
from common.types import Array, Images, PyTree
from experiments.restore import RestoredRun, open_data
from gan.gan import GAN
from vae.vae import VAE

DECAYS = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
TRAINED, UNTRAINED, PIXELS = "linear_probe", "linear_probe_untrained", "linear_probe_pixels"


@dataclasses.dataclass(frozen=True)
class Network:
  """The half of a model that sees pictures.

  Attributes:
    name: "discriminator" or "encoder".
    variables: of a state.
    apply: a pass over images [B, H, W, C] with given variables, with running statistics.
    weights: "raw" or "ema".
  """

  name: str
  variables: Callable[[PyTree], PyTree]
  apply: Callable[[PyTree, Images], Any]
  weights: str


def network_of(run: RestoredRun) -> Network:
  """The half of the run's model that sees pictures.

  Raises:
    ConfigError: one that is told the labels, has no convolutions, or a model that has no such half.
  """
  algorithm, config = run.algorithm, run.config
  if isinstance(algorithm, GAN):
    network = _discriminator(algorithm)
  elif isinstance(algorithm, VAE):
    network = _encoder(algorithm, "ema" if algorithm.ema.kept else "raw")
  else:
    raise ConfigError(f"a {config.family} has no discriminator or encoder; take the run of a GAN or VAE")
  if not shapes(run, network):
    section = config.discriminator if isinstance(algorithm, GAN) else config.model
    raise ConfigError(
      f'the {network.name} "{section.name}" has no convolutions whose features could be probed; '
      "take a run with a convolutional one"
    )
  return network


def _discriminator(algorithm: GAN) -> Network:
  if algorithm.conditioning.discriminator == "concat":
    raise ConfigError(
      'config.conditioning.name="concat" tells the discriminator the label that is to be read off its features; '
      "take a run whose discriminator sees pictures only, or has its labels at the end (projection, auxiliary)"
    )

  def apply(variables: PyTree, x: Images) -> Any:
    index = jnp.arange(len(x))
    # A projection comes after all that is taken, so that any label does.
    x, known = algorithm.conditioning.discriminator_inputs(x, jnp.zeros_like(index))
    keys = random.row_keys(jax.random.key(0), index)
    return algorithm.discriminator.module.apply(variables, x, train=False, keys=keys, **known)

  return Network("discriminator", lambda state: state.discriminator.variables(), apply, "raw")


def _encoder(algorithm: VAE, weights: str) -> Network:
  if algorithm.conditional:
    raise ConfigError(
      'config.conditioning.name="concat" tells the encoder the label that is to be read off its features; take a run '
      "without labels"
    )

  def apply(variables: PyTree, x: Images) -> Any:
    rows = random.row_keys(jax.random.key(0), jnp.arange(len(x)))
    return algorithm.network.apply(variables, x, None, rows, method="encode")

  return Network("encoder", lambda state: state.net.variables(ema=True), apply, weights)


def shapes(run: RestoredRun, network: Network) -> dict[str, tuple[int, ...]]:
  """{"number layer": [h, w, C]} of what its convolutions pass on."""
  image = jax.ShapeDtypeStruct((1, *run.spec.image_shape), jnp.float32)
  variables = network.variables(run.state)
  maps = jax.eval_shape(lambda variables, x: passed_on(lambda: network.apply(variables, x)), variables, image)
  return {name: x.shape[1:] for name, x in maps.items()}


class Probe:
  """The scores of a run.

  Raises:
    ConfigError: a data set without labels, or not the run's; a network of which there is nothing to probe.
  """

  def __init__(self, run: RestoredRun, workdir: Path, checkpoint: str, mesh: Mesh, *, data_dir: str, num_train: int):
    if run.spec.kind == "points" or not run.spec.num_classes:
      raise ConfigError(f'"{run.config.data.name}" has no pictures with labels, which a classifier of features needs')
    self._run, self._workdir, self._checkpoint, self._mesh = run, workdir, checkpoint, mesh
    self._network = network_of(run)
    # Pictures as they are, the same in each split.
    plain = {"flip": False, "dequantize": False, "binarize": "none"}
    self._data, self._dataset = open_data(run, workdir, data_dir, **plain)
    self._num_train = num_train or len(self._dataset.train)
    if self._num_train > len(self._dataset.train):
      raise ConfigError(
        f"--num_train={num_train}: the training split has {len(self._dataset.train):,}; "
        f"take --num_train={len(self._dataset.train)} or fewer"
      )
    self._shapes = shapes(run, self._network)
    self.kinds = (TRAINED, UNTRAINED, PIXELS)

  @property
  def num_rows(self) -> int:
    """Pictures whose features are held at a time."""
    return self._num_train + max(len(self._dataset.validation), len(self._dataset.test))

  def dim(self, kind: str) -> int:
    """Features of a picture."""
    if kind == PIXELS:
      return math.prod(self._run.spec.image_shape)
    return sum(min(h, GRID) * min(w, GRID) * c for h, w, c in self._shapes.values())

  def megabytes(self, kind: str) -> float:
    """What they take, in float16."""
    return self.num_rows * self.dim(kind) * 2 / 2**20

  def record(self, kind: str, status: Status) -> dict[str, Any]:
    """Fits and scores one set of features."""
    embedder, classes = Embedder(self._extractor(kind), self._mesh), self._run.spec.num_classes
    with status.phase(f"{kind}: embedding {self._num_train:,} pictures"):
      train = self._table(self._dataset.train, self._num_train, embedder, kind)
    validation = self._table(self._dataset.validation, len(self._dataset.validation), embedder, kind)
    with status.phase(f"{kind}: fitting {self.dim(kind):,} features"):
      chosen = linear_svm.choose(train, validation, classes, DECAYS)
    del validation
    test = self._table(self._dataset.test, len(self._dataset.test), embedder, kind)
    labels = np.asarray(test.labels)
    hits = linear_svm.predict(chosen.fit.weights, test, train) == labels[labels >= 0]
    record = ScoreRecord(
      metric=kind,
      score=share(hits, "test pictures"),
      better="max",
      protocol=self._protocol(len(hits)),
      source={
        "workdir": str(self._workdir),
        "family": self._run.config.family,
        "checkpoint": self._checkpoint,
        "step": self._run.step,
        **self._described(kind),
        "weight_decay": chosen.weight_decay,
        "validation_accuracy": {f"{decay:g}": accuracy for decay, accuracy in chosen.tried.items()},
        "gradient_ratio": float(chosen.fit.ratio),
      },
      seed=self._run.config.seed,
    )
    return record.to_json()

  def _protocol(self, num_test: int) -> dict[str, Any]:
    """What must be the same where two runs are ranked."""
    shared = Protocol(
      dataset=self._data.name,
      split=self._data.test_split,
      image_shape=list(self._run.spec.image_shape),
      n_real=num_test,
      real_sha=self._dataset.test.sha8(),
      batch_norm="running",
    )
    return {
      **shared.to_json(),
      "n_train": self._num_train,
      "classifier": "linear L2-SVM, one against the rest, on standardised features in float16",
      "regularisation": f"weight decay of {DECAYS[0]:g} .. {DECAYS[-1]:g} by factors of 10, best on "
      f"{self._data.validation_split}",
      "pooling": f"maxima over {GRID}x{GRID} fields",
    }

  def _described(self, kind: str) -> dict[str, Any]:
    """Whose features they are."""
    if kind == PIXELS:
      return {"network": "none", "layers": [], "dimension": self.dim(kind), "weights": "none"}
    return {
      "network": self._network.name,
      "layers": [f"input of {name.partition(' ')[2]}, {h}x{w}x{c}" for name, (h, w, c) in self._shapes.items()],
      "dimension": self.dim(kind),
      "weights": self._network.weights if kind == TRAINED else "as initialised",
    }

  def _extractor(self, kind: str) -> Extractor:
    """Features of uint8 pictures."""
    spec = self._run.spec
    low, high = spec.pixel_range

    def pixels(variables: PyTree, images: Array) -> tuple[Array, None]:
      return images.reshape(len(images), -1).astype(jnp.float32) / 255.0, None

    def features(variables: PyTree, images: Array) -> tuple[Array, None]:
      x = low + (high - low) / 255.0 * images.astype(jnp.float32)
      return pooled(passed_on(lambda: self._network.apply(variables, x))), None

    if kind == PIXELS:
      return Extractor(kind, {}, pixels)
    state = self._run.state
    if kind == UNTRAINED:
      options = quick_compilation()
      fresh = jax.jit(lambda: make_state(self._run.algorithm, spec, self._run.config.seed), compiler_options=options)
      state = fresh()
    return Extractor(kind, self._network.variables(state), features)

  def _table(self, split: Split, num: int, embedder: Embedder, kind: str) -> linear_svm.Table:
    def parts() -> Iterator[np.ndarray]:
      for start in range(0, num, linear_svm.CHUNK):
        yield embedder(split.rows(np.arange(start, min(start + linear_svm.CHUNK, num)))["image"]).features

    labels = np.concatenate(
      [
        split.rows(np.arange(start, min(start + linear_svm.CHUNK, num)))["label"]
        for start in range(0, num, linear_svm.CHUNK)
      ]
    )
    try:
      return linear_svm.tabulate(parts(), labels, self.dim(kind))
    except ValueError as error:
      raise ConfigError(f"{self._workdir}: {error}") from error
