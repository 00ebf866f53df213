"""Small models on small data, and one step of each, shared by the tests so that each is compiled once."""

import dataclasses
import functools
import importlib
import zlib
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from common.algorithm import Trainable
from common.data.dataset import Dataset, open_dataset
from common.data.preprocess import preprocess
from common.training.program import make_state
from common.types import Batch, PyTree
from experiments import build_algorithm
from gan.gan import GAN

CONFIGS = ("gan:digits,tiny", "dcgan:digits,tiny", "vae:digits,tiny", "vae:digits,conv,tiny", "classifier:digits,tiny")

AS_STORED = {"crop": 0, "rotate": False, "flip": False, "dequantize": False, "binarize": "none", "degradation": ()}


def config_of(variant: str, **changes: Any) -> ConfigDict:
  """The config of ``name:words``; in the names of ``changes`` __ stands for a dot, and sections are swapped whole."""
  name, _, words = variant.partition(":")
  config = importlib.import_module(f"configs.{name}").get_config(words)
  with config.unlocked():
    for path, value in changes.items():
      *sections, key = path.split("__")
      functools.reduce(getattr, sections, config)[key] = value
  return config


@functools.cache
def dataset_of(variant: str) -> Dataset:
  return open_dataset(config_of(variant).data)


def batch_of(dataset: Dataset, lead: tuple[int, ...], *, binarize: str = "none", seed: int = 0) -> Batch:
  """The first training examples as a batch [*lead, ...], preprocessed as in training."""
  count = int(np.prod(lead))
  raw = {**dataset.train.rows(np.arange(count)), "index": np.arange(count, dtype=np.int32)}
  rng = jax.random.key(seed)
  data = ConfigDict({**AS_STORED, "binarize": binarize})
  flat = preprocess(raw, rng, dataset.spec, data, train=True)
  index = np.broadcast_to(np.arange(lead[-1], dtype=np.int32), lead)
  return {**{name: x.reshape(*lead, *x.shape[1:]) for name, x in flat.items()}, "index": index}


def with_networks(gan: GAN, generator: nn.Module, discriminator: nn.Module) -> GAN:
  """The same GAN of other networks."""
  return dataclasses.replace(
    gan,
    generator=gan.generator._replace(module=generator),
    discriminator=gan.discriminator._replace(module=discriminator),
  )


def fresh_state(algorithm: Trainable, variant: str) -> PyTree:
  """What training starts from, seed 0."""
  spec = dataset_of(variant).spec
  return jax.jit(lambda: make_state(algorithm, spec, 0))()


def filled(shapes: PyTree) -> PyTree:
  """A state of those shapes without compiling what draws one: no parameter is at the 0 where some start.

  So each has a gradient at once. Parameters, spectral vectors and codes are from N(0, 0.3^2), variances 1, the rest 0.
  """

  def fill(path: Any, leaf: Any) -> np.ndarray:
    name = jax.tree_util.keystr(path)
    if leaf.dtype != np.float32:
      return np.zeros(leaf.shape, leaf.dtype)
    if ".opt_state" not in name and any(part in name for part in (".params", ".ema_params", "spectral", "embedding")):
      x = np.random.default_rng(zlib.crc32(name.encode())).normal(0.0, 0.3, leaf.shape).astype(np.float32)
      return np.abs(x) if leaf.ndim < 2 else x  # rectifiers of so few units are else all off
    return np.full(leaf.shape, float("['var']" in name), np.float32)

  return jax.tree_util.tree_map_with_path(fill, shapes)


@dataclasses.dataclass(frozen=True)
class Step:
  """One training step and what it started from."""

  config: ConfigDict
  algorithm: Trainable
  before: PyTree
  batch: Batch
  after: PyTree
  metrics: dict[str, Any]


@functools.cache
def one_step(variant: str) -> Step:
  """A step of the config as it stands, from its fresh state, on 16 examples (for each discriminator update)."""
  config, dataset = config_of(variant), dataset_of(variant)
  algorithm = build_algorithm(config, dataset.spec)
  lead = (16,) if algorithm.batches_per_step is None else (algorithm.batches_per_step, 16)
  batch = batch_of(dataset, lead, binarize=config.data.binarize)
  before = fresh_state(algorithm, variant)
  after, metrics = jax.jit(algorithm.train_step)(before, batch, jax.random.key(1))
  return Step(config, algorithm, before, batch, after, jax.device_get(metrics))
