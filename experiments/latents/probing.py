"""A linear classifier on what the convolutions of a run's discriminator, or encoder, pass on."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common import random
from common.data.dataset import Dataset, Split
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
from experiments.loading import TrainedRun, open_data
from gan.gan import GAN
from vae.vae import VAE

DECAYS = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4)
CHUNK = 1024  # images at a time


class Network(NamedTuple):
  """The half of a model that sees images: its name, which weights it has, and how to call it.

  ``variables`` reads them from a state; ``apply`` runs them on images [B, H, W, C], with running statistics.
  """

  name: str
  weights: str
  variables: Callable[[PyTree], PyTree]
  apply: Callable[[PyTree, Images], Any]


def probe(
  run: TrainedRun,
  workdir: Path,
  checkpoint: str,
  mesh: Mesh,
  status: Status,
  *,
  data_dir: str,
  num_train: int,
  floors: bool,
  memory_mb: int,
) -> Iterator[dict[str, Any]]:
  """Yields the record of each set of features: those of the network, and with ``floors`` those to compare it with.

  Raises:
    ConfigError: a network that cannot be probed, a data set without labels, or features that need too much memory.
  """
  spec, source = run.spec, {"workdir": str(workdir), "family": run.config.family, "checkpoint": checkpoint}
  if spec.kind == "points" or not spec.num_classes:
    raise ConfigError(f'"{run.config.data.name}" has no pictures with labels, which a classifier of features needs')
  network = network_of(run)
  data, dataset = open_data(run, workdir, data_dir, flip=False, dequantize=False, binarize="none")
  most = len(dataset.train)
  if num_train > most:
    raise ConfigError(f"--num_train={num_train}: the training split has {most:,}; take --num_train={most} or fewer")
  num_train = num_train or most
  held = num_train + max(len(dataset.validation), len(dataset.test))
  sets = _feature_sets(run, network, floors)
  for _, about in sets:
    _check_memory(held, about["dimension"], memory_mb)
  protocol = {**_protocol(data, dataset), "n_train": num_train}
  for extractor, about in sets:
    metric, embedder = extractor.name, Embedder(extractor, mesh)
    with status.phase(f"{metric}: embedding {num_train:,} pictures"):
      train = _parts(dataset.train, num_train, embedder)
    validation = _parts(dataset.validation, len(dataset.validation), embedder)
    with status.phase(f"{metric}: fitting {about['dimension']:,} features"):
      standard = linear_svm.standard_of(train)
      best, tried = linear_svm.choose(train, standard, validation, spec.num_classes, DECAYS)
    del train, validation
    test = _parts(dataset.test, len(dataset.test), embedder)
    hits = linear_svm.predict(best.weights, standard, test) == np.concatenate([labels for _, labels in test])
    fitted = {
      "weight_decay": max(tried, key=lambda decay: tried[decay]),
      "validation_accuracy": {f"{decay:g}": accuracy for decay, accuracy in tried.items()},
      "gradient_ratio": best.gradient_ratio,
    }
    record = ScoreRecord(
      metric=metric,
      score=share(hits, "test pictures"),
      better="max",
      protocol=protocol,
      source={**source, "step": run.step, **about, **fitted},
      seed=run.config.seed,
    )
    yield record.to_json()


def _protocol(data: Any, dataset: Dataset) -> dict[str, Any]:
  shared = Protocol(
    dataset=data.name,
    split=data.test_split,
    image_shape=list(dataset.image_shape),
    n_real=len(dataset.test),
    real_sha=dataset.test.sha8(),
    batch_norm="running",
  )
  decays = f"{DECAYS[0]:g} .. {DECAYS[-1]:g} by factors of 10"
  return {
    **shared.to_json(),
    "classifier": "linear L2-SVM, one against the rest, on standardised features in float16",
    "regularisation": f"weight decay of {decays}, best on {data.validation_split}",
    "pooling": f"maxima over {GRID}x{GRID} fields",
  }


def network_of(run: TrainedRun) -> Network:
  """Returns the half of the run's model that sees images.

  Raises:
    ConfigError: a model without such a half, or one whose half is given the labels.
  """
  if not isinstance(run.algorithm, GAN | VAE):
    raise ConfigError(f"a {run.config.family} has no discriminator or encoder; take the run of a GAN or VAE")
  algorithm: Any = run.algorithm
  is_gan = isinstance(algorithm, GAN)
  name = "discriminator" if is_gan else "encoder"
  if {"seen", "text"} & set(algorithm.given):
    given = "pictures" if "seen" in algorithm.given else "captions"
    raise ConfigError(
      f'config.conditioning.name="{run.config.conditioning.name}": this model is given {given}, and probes are of '
      "models that are given nothing or labels"
    )
  if (algorithm.conditioning.discriminator == "concat") if is_gan else algorithm.given:
    raise ConfigError(
      f'config.conditioning.name="concat" tells the {name} the label that is to be read off its features; take a run '
      "without labels, or of a discriminator that has them at its end (projection, auxiliary)"
    )

  def discriminator(variables: PyTree, x: Images) -> Any:
    index = jnp.arange(len(x))
    # A projection comes after all features that are used, so that any label does.
    x, given = algorithm.conditioning.discriminator_inputs(x, jnp.zeros_like(index))
    keys = random.row_keys(jax.random.key(0), index)
    return algorithm.discriminator.module.apply(variables, x, train=False, keys=keys, **given)

  def encoder(variables: PyTree, x: Images) -> Any:
    keys = random.row_keys(jax.random.key(0), jnp.arange(len(x)))
    return algorithm.network.apply(variables, x, None, keys, method="encode")

  if is_gan:
    return Network(name, "raw", lambda state: state.discriminator.variables(), discriminator)
  weights = "ema" if algorithm.ema.kept else "raw"
  return Network(name, weights, lambda state: state.net.variables(ema=True), encoder)


def _feature_sets(run: TrainedRun, network: Network, floors: bool) -> list[tuple[Extractor, dict[str, Any]]]:
  """Returns extractors, named as their scores, and how records describe them: the trained network, then any floors.

  Raises:
    ConfigError: a network without convolutions.
  """
  spec, (low, high) = run.spec, run.spec.pixel_range

  def features(variables: PyTree, images: Array) -> tuple[Array, None]:
    x = low + (high - low) / 255.0 * images.astype(jnp.float32)
    return pooled(passed_on(lambda: network.apply(variables, x))), None

  def pixels(variables: PyTree, images: Array) -> tuple[Array, None]:
    return images.reshape(len(images), -1).astype(jnp.float32) / 255.0, None

  variables, image = network.variables(run.state), jax.ShapeDtypeStruct((1, *spec.image_shape), jnp.float32)
  maps = jax.eval_shape(lambda variables, x: passed_on(lambda: network.apply(variables, x)), variables, image)
  if not maps:
    section = run.config.discriminator if network.name == "discriminator" else run.config.model
    raise ConfigError(
      f'the {network.name} "{section.name}" has no convolutions whose features could be probed; '
      "take a run with a convolutional one"
    )
  shapes = {name: x.shape[1:] for name, x in maps.items()}
  about = {
    "network": network.name,
    "layers": [f"input of {name.partition(' ')[2]}, {h}x{w}x{c}" for name, (h, w, c) in shapes.items()],
    "dimension": sum(min(h, GRID) * min(w, GRID) * c for h, w, c in shapes.values()),
  }
  sets = [(Extractor("linear_probe", variables, features), {**about, "weights": network.weights})]
  if floors:
    make = jax.jit(lambda: make_state(run.algorithm, spec, run.config.seed), compiler_options=quick_compilation())
    fresh = Extractor("linear_probe_untrained", network.variables(make()), features)
    sets.append((fresh, {**about, "weights": "as initialised"}))
    none = {"network": "none", "layers": [], "dimension": math.prod(spec.image_shape), "weights": "none"}
    sets.append((Extractor("linear_probe_pixels", {}, pixels), none))
  return sets


def _check_memory(rows: int, dim: int, memory_mb: int) -> None:
  """Raises ConfigError where float16 features [rows, dim] and three float32 matrices [dim, dim] are too much."""
  needed = (2 * rows * dim + 3 * 4 * dim**2) / 2**20
  if needed > memory_mb:
    raise ConfigError(
      f"{rows:,} x {dim:,} features take {needed:,.0f} MB, more than --memory_mb={memory_mb}; raise it to "
      f"--memory_mb={math.ceil(needed)}, or take fewer pictures with --num_train"
    )


def _parts(split: Split, num: int, embedder: Embedder) -> list[tuple[Array, Array]]:
  """Embeds the first ``num`` images of a split."""
  parts = []
  for start in range(0, num, CHUNK):
    rows = split.rows(np.arange(start, min(start + CHUNK, num)))
    features = embedder(rows["image"]).features
    if np.max(np.abs(features)) > np.finfo(np.float16).max:
      raise ConfigError("some features are beyond 65,504, the largest number of float16; take another checkpoint")
    parts.append((jnp.asarray(features, jnp.float16), jnp.asarray(rows["label"])))
  return parts
