"""This project's side: what experiments.train runs, without logging, evaluation, pictures and checkpoints."""

import time
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from common import parallel
from common.algorithm import Generative
from common.data.dataset import open_dataset
from common.evaluation.sampling import Sampler
from common.training.program import Program
from common.training.trainer import MAX_CALLS_IN_FLIGHT
from experiments import build_algorithm


class JaxSide:
  """A program and its state, past its first call."""

  def __init__(self, config: ConfigDict):
    dataset = open_dataset(config.data)
    algorithm = build_algorithm(config, dataset.spec, parallel.axis_name_of(config.parallel.mode))
    mesh = parallel.make_mesh()
    self._sampler = Sampler(algorithm, dataset.spec, mesh) if isinstance(algorithm, Generative) else None
    self._program = Program(algorithm, dataset, config, mesh)
    self._images_per_call = config.train.batch_size * config.train.steps_per_call
    self._steps_per_call, self._step = config.train.steps_per_call, 0
    self._state = self._program.init()
    self._train(calls=1)

  def burst(self, images: int) -> dict[str, float]:
    """Trains on at least ``images`` in whole calls: {"images", "seconds"}, all metrics fetched at the end."""
    calls = -(-images // self._images_per_call)
    start = time.perf_counter()
    self._train(calls)
    return {"images": calls * self._images_per_call, "seconds": time.perf_counter() - start}

  def sample(self, images: int) -> dict[str, float]:
    """Draws ``images`` pictures as experiments.sample does: {"images", "seconds"}, the pictures on the host."""
    assert self._sampler is not None
    start = time.perf_counter()
    self._sampler(self._state, 0, images)
    return {"images": images, "seconds": time.perf_counter() - start}

  def _train(self, calls: int) -> None:
    """The trainer's loop: a few calls in flight, metrics fetched late."""
    in_flight: deque[Any] = deque()
    feed = self._program.feed
    for _ in range(calls):
      self._state, metrics = self._program.train_call(self._state, feed.data, feed(self._step))
      in_flight.append(metrics)
      self._step += self._steps_per_call
      while len(in_flight) > MAX_CALLS_IN_FLIGHT:
        jax.device_get(in_flight.popleft())
    while in_flight:
      jax.device_get(in_flight.popleft())

  @staticmethod
  def peak_gflops(size: int) -> float:
    """The best of several float32 products of two [size, size] matrices, in 10^9 multiply-adds x 2 a second."""
    a = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    best = float("inf")
    for _ in range(8):
      start = time.perf_counter()
      product(a, a).block_until_ready()
      best = min(best, time.perf_counter() - start)
    return 2e-9 * size**3 / best
