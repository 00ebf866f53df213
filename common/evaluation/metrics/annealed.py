"""log p(x) by annealed importance sampling (Neal 2001; Wu et al. 2017, arXiv:1611.04273), in nats an image.

A chain starts at the prior and is led to the posterior through p(z) p(x|z)^beta, so no encoder is asked. The weight of
its path has the expectation p(x); the mean of its logarithm is below log p(x), and rises to it with the number of
temperatures and of chains.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common import random
from common.algorithm import LatentVariable
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, PerImage, mean_score
from common.parallel import local_rows, place_batch, to_host
from common.types import Array, Batch, Latents, PyTree

FIRST_STEP = (
  0.5  # of the leapfrog integrator, in units of the prior; the pilots correct it from the first transition on
)
GAIN = 0.1  # by how much the logarithm of a step follows the pilots' acceptance
ACCEPTANCE = 0.65  # near the optimum for Hamiltonian Monte Carlo in many dimensions (Beskos et al. 2013)


class Point(flax.struct.PyTreeNode):
  """Where chains are, [K, B, ...], with both log-densities [K, B] and their gradients in z."""

  z: Latents
  log_prior: Array
  log_likelihood: Array
  prior_force: Latents
  likelihood_force: Latents

  def log_density(self, beta: Array) -> Array:
    return self.log_prior + beta * self.log_likelihood


def sigmoid_schedule(temperatures: int, sharpness: float = 4.0) -> np.ndarray:
  """beta_0 = 0 .. beta_T = 1, dense at both ends: a sigmoid over [-sharpness, sharpness], scaled; float64 [T + 1]."""
  values = 1.0 / (1.0 + np.exp(-sharpness * np.linspace(-1.0, 1.0, temperatures + 1)))
  return (values - values[0]) / (values[-1] - values[0])


def annealed_log_weights(
  algorithm: LatentVariable,
  state: PyTree,
  batch: Batch,
  rng: Array,
  *,
  chains: int,
  temperatures: int,
  leapfrog: int,
  pilots: int,
) -> tuple[Array, Array]:
  """Logarithms of the weights of all chains, [chains, B], and their acceptance, [B].

  The chains of ``pilots`` only set the step of the integrator, for each image and temperature from their acceptance at
  the last one. So no chain that counts has a part in its own transitions, and its weight has exactly the expectation
  p(x). A chain depends on (rng, its image's index, its number) only.

  Args:
    algorithm: the model.
    state: its state.
    batch: the images, their numbers in the split, and their labels; leaves [B, ...].
    rng: key of all draws.
    chains: chains that count, for each image.
    temperatures: steps of beta from 0 to 1; after each but the last a transition of Hamiltonian Monte Carlo.
    leapfrog: gradients in a transition.
    pilots: further chains for each image.
  """
  index = batch["index"]
  keys = jnp.concatenate([_chain_keys(rng, "chain", chains), _chain_keys(rng, "pilot", pilots)])
  betas = sigmoid_schedule(temperatures)
  steps = jnp.asarray(np.diff(betas), jnp.float32)

  def at(z: Latents) -> Point:
    log_prior, prior_force = _with_gradient(lambda z: algorithm.log_prior(state, z), z)
    log_likelihood, likelihood_force = _with_gradient(lambda z: algorithm.log_likelihood(state, batch, z), z)
    return Point(z, log_prior, log_likelihood, prior_force, likelihood_force)

  def force(z: Latents, beta: Array) -> Latents:
    total = lambda z: jnp.sum(algorithm.log_prior(state, z) + beta * algorithm.log_likelihood(state, batch, z))  # noqa: E731
    return jax.grad(total)(z)

  def transition(point: Point, beta: Array, step: Array, t: Array) -> tuple[Point, Array]:
    """One of Hamiltonian Monte Carlo, which leaves p(z) p(x|z)^beta as it is (Neal 2011, Section 3.2)."""
    draws = jax.vmap(lambda key: random.row_keys(jax.random.fold_in(key, t), index))(keys)
    momentum = _normal_like(draws, point.z)
    start = jax.tree.map(lambda a, b: a + beta * b, point.prior_force, point.likelihood_force)
    half = _move(momentum, start, 0.5 * step)

    def leap(_: Array, where: tuple[Latents, Latents]) -> tuple[Latents, Latents]:
      z, momentum = where
      z = _move(z, momentum, step)
      return z, _move(momentum, force(z, beta), step)

    z, last = lax.fori_loop(0, leapfrog - 1, leap, (point.z, half))
    new = at(_move(z, last, step))
    end = jax.tree.map(lambda a, b: a + beta * b, new.prior_force, new.likelihood_force)
    gain = new.log_density(beta) - _kinetic(_move(last, end, 0.5 * step))
    log_ratio = gain - (point.log_density(beta) - _kinetic(momentum))
    # A path that left the range of floats is one that is not accepted.
    probability = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
    accept = _uniform(draws) < probability
    kept = jax.tree.map(lambda a, b: jnp.where(accept.reshape(*accept.shape, *[1] * (a.ndim - 2)), a, b), new, point)
    return kept, probability

  def anneal(carry: tuple[Point, Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[PyTree, Array]:
    point, log_weight, log_step = carry
    beta, increment, t = inputs
    point, probability = transition(point, beta, jnp.exp(log_step), t)
    log_step += GAIN * (jnp.mean(probability[chains:], axis=0) - ACCEPTANCE)
    return (point, log_weight + increment * point.log_likelihood, log_step), jnp.mean(probability[:chains], axis=0)

  first = at(jax.vmap(lambda key: algorithm.prior_sample(state, key, index))(keys))
  carry = (first, steps[0] * first.log_likelihood, jnp.full(len(index), math.log(FIRST_STEP)))
  inputs = (jnp.asarray(betas[1:-1], jnp.float32), steps[1:], jnp.arange(1, temperatures))
  (_, log_weight, _), accepted = lax.scan(anneal, carry, inputs)
  return log_weight[:chains], jnp.sum(accepted, axis=0) / max(temperatures - 1, 1)


def _chain_keys(rng: Array, name: str, count: int) -> Array:
  return jax.vmap(lambda i: jax.random.fold_in(random.stream(rng, name), i))(jnp.arange(count))


def _with_gradient(log_density: Any, z: Latents) -> tuple[Array, Latents]:
  """log_density(z) [K, B], and its gradient: chains and images do not depend on each other."""
  value, pull_back = jax.vjp(log_density, z)
  return value, pull_back(jnp.ones_like(value))[0]


def _normal_like(rows: Array, z: Latents) -> Latents:
  """Keys [K, B] -> N(0, 1) draws of the shapes of ``z`` [K, B, ...], a stream for each layer."""
  leaves, structure = jax.tree.flatten(z)
  streams = [jax.vmap(jax.vmap(lambda key, i=i: random.stream(key, f"momentum{i}")))(rows) for i in range(len(leaves))]
  draws = [
    jax.vmap(lambda k, a=a: random.normal(k, a.shape[2:]))(keys) for keys, a in zip(streams, leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, draws)


def _uniform(rows: Array) -> Array:
  """Keys [K, B] -> U[0, 1) draws [K, B]."""
  return jax.vmap(lambda keys: random.uniform(keys, ()))(jax.vmap(jax.vmap(lambda k: random.stream(k, "accept")))(rows))


def _move(where: Latents, direction: Latents, step: Array) -> Latents:
  """where + step * direction, [K, B, ...] with a step for each image [B]."""
  return jax.tree.map(lambda a, d: a + step.reshape(1, -1, *[1] * (a.ndim - 2)) * d, where, direction)


def _kinetic(momentum: Latents) -> Array:
  """[K, B, ...] -> |momentum|^2 / 2, [K, B]."""
  layers = [jnp.sum(p.reshape(*p.shape[:2], -1) ** 2, axis=-1) for p in jax.tree.leaves(momentum)]
  return 0.5 * jnp.sum(jnp.stack(layers), axis=0)


@dataclasses.dataclass(frozen=True)
class AnnealedNll:
  """ "ais_nll": the mean of -log of the mean weight, in expectation above -log p(x).

  The arrays describe the chains of each image: "acceptance" [images] of their transitions, which should be near 0.65,
  and "effective_chains" [images], 1 where a single weight rules: then more temperatures are needed.

  Attributes:
    images: the first of the split; all where it has fewer.
    chains: for each image.
    temperatures: between the prior and the posterior.
    leapfrog: gradients in a transition.
    pilots: further chains for each image, which set the steps of the integrator.
    chunk: images times chains in one pass of the decoder of one device, where that is at least the chains of an image;
      only speed and memory depend on it, and results to rounding, which an acceptance can turn into more.
  """

  images: int = 100
  chains: int = 16
  temperatures: int = 1000
  leapfrog: int = 10
  pilots: int = 4
  chunk: int = 500
  better: ClassVar[dict[str, str]] = {"ais_nll": "min"}

  def __post_init__(self):
    for name in ("chains", "temperatures", "leapfrog", "pilots", "chunk"):
      if getattr(self, name) < 1:
        raise ConfigError(f"{name}={getattr(self, name)} must be 1 or more")
    if self.images < 2:
      raise ConfigError(f"images={self.images}: a standard error needs 2 or more")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Over the first images of the split.

    Raises:
      ConfigError: the likelihood is no density.
    """
    model.check_density("ais")
    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> tuple[Array, Array]:
      settings = {name: getattr(self, name) for name in ("chains", "temperatures", "leapfrog", "pilots")}
      key = random.stream(rng, "annealed")
      log_weights, acceptance = annealed_log_weights(algorithm, state, batch, key, **settings)
      return log_weights.T, acceptance

    annealed = model.compiled(self, lambda: PerImage(values, model.spec, model.config, model.mesh))
    batches = self.batches(model, feed)
    parts = [annealed.batch(model.state, feed.data, inputs) for inputs in batches]
    log_weights, acceptance = (np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True))
    top = log_weights.max(axis=1, keepdims=True)
    weights = np.exp(log_weights - top)
    nll = -(top[:, 0] + np.log(weights.mean(axis=1)))
    method = f"{self.chains} chains, {self.temperatures} temperatures, {self.leapfrog} leapfrog steps"
    return LikelihoodResult(
      scores={"ais_nll": mean_score(nll, method)},
      per_image={"ais_nll": nll},
      arrays={"acceptance": acceptance, "effective_chains": weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)},
    )

  def batches(self, model: Model, feed: EvalFeed) -> Iterator[PyTree]:
    """Inputs of the first images, as many at a time as ``chunk`` allows."""
    mesh = model.mesh
    first = _first_rows(feed, self.images)
    count = len(first["index"])
    each = max(min(self.chunk // (self.chains + self.pilots), -(-count // mesh.size)), 1)
    size = each * mesh.size
    for start in range(0, count, size):
      position = np.arange(start, start + size)[local_rows(size)]
      rows = np.minimum(position, count - 1)
      inputs = {name: values[rows] for name, values in first.items()}
      padding = {"index": position.astype(np.int32), "mask": (position < count).astype(np.float32)}
      yield place_batch({**inputs, **padding}, mesh, feed.batch_axis)


def _first_rows(feed: EvalFeed, count: int) -> dict[str, np.ndarray]:
  """The inputs of the first ``count`` images of a feed, whole on every process."""
  parts: list[dict[str, np.ndarray]] = []
  for inputs in feed:
    rows = to_host(inputs)
    parts.append({name: values[rows["mask"] > 0] for name, values in rows.items()})
    if sum(len(part["index"]) for part in parts) >= count:
      break
  return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
