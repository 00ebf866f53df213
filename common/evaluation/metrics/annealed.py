"""log p(x) by annealed importance sampling (Neal 2001; Wu et al. 2017, arXiv:1611.04273), in nats an image.

A chain moves from the prior to the posterior through p(z) p(x|z)^beta, without the encoder. The weight of its path has
the expectation p(x). The mean of the logarithm is below log p(x), and rises to it with the number of temperatures and
of chains.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common import random
from common.algorithm import LatentVariable
from common.data.batches import EvalFeed
from common.errors import ConfigError
from common.evaluation.metrics.likelihood import LikelihoodResult, Model, check_positive, mean_score
from common.given import given_of
from common.parallel import local_rows, place_batch, to_host
from common.types import Array, Batch, Latents, PyTree

FIRST_STEP = 0.5  # of the leapfrog integrator, in units of the prior; the pilots adapt it from the first transition on
GAIN = 0.1  # change of the step's logarithm per unit of the pilots' acceptance
ACCEPTANCE = 0.65  # near the optimum for Hamiltonian Monte Carlo in many dimensions (Beskos et al. 2013)


class Point(flax.struct.PyTreeNode):
  """Positions z [K, B, ...] of chains, with both log-densities [K, B] and their gradients with respect to z."""

  z: Latents
  log_prior: Array
  log_likelihood: Array
  prior_force: Latents
  likelihood_force: Latents

  def log_density(self, beta: Array) -> Array:
    return self.log_prior + beta * self.log_likelihood

  def force(self, beta: Array) -> Latents:
    return jax.tree.map(lambda a, b: a + beta * b, self.prior_force, self.likelihood_force)


@dataclasses.dataclass(frozen=True)
class Target:
  """p(z) p(x|z)^beta, from log p(z) and log p(x|z) as functions of z [K, B, ...] -> [K, B]."""

  log_prior: Callable[[Latents], Array]
  log_likelihood: Callable[[Latents], Array]

  def at(self, z: Latents) -> Point:
    """Evaluates both densities and their gradients; chains and images do not depend on each other."""
    log_prior, prior_back = jax.vjp(self.log_prior, z)
    log_likelihood, likelihood_back = jax.vjp(self.log_likelihood, z)
    ones = jnp.ones_like(log_prior)
    return Point(z, log_prior, log_likelihood, prior_back(ones)[0], likelihood_back(ones)[0])

  def force(self, z: Latents, beta: Array) -> Latents:
    """Returns the gradient of the log-density at ``beta``."""
    return jax.grad(lambda z: jnp.sum(self.log_prior(z) + beta * self.log_likelihood(z)))(z)


def sigmoid_schedule(temperatures: int, sharpness: float = 4.0) -> np.ndarray:
  """Returns beta_0 = 0 .. beta_T = 1, dense at both ends: a scaled sigmoid over [-sharpness, sharpness], [T + 1]."""
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
  """Returns the log-weights of all chains, [chains, B], and the rate at which their transitions are accepted, [B].

  The ``pilots`` are chains that only set the step of the integrator, for each image and temperature from their
  acceptance at the previous one. No chain influences its own transitions, so that its weight has exactly the
  expectation p(x). A chain depends on (rng, its image's index, its number) only.

  Args:
    algorithm: the model.
    state: its state.
    batch: the images, their indices in the split, and their labels; leaves [B, ...].
    rng: key of all draws.
    chains: chains for each image.
    temperatures: steps of beta from 0 to 1, with a transition of Hamiltonian Monte Carlo after each but the last.
    leapfrog: gradients in a transition.
    pilots: further chains for each image.
  """
  index = batch["index"]
  target = Target(lambda z: algorithm.log_prior(state, batch, z), lambda z: algorithm.log_likelihood(state, batch, z))
  keys = jnp.concatenate([_chain_keys(rng, "chain", chains), _chain_keys(rng, "pilot", pilots)])
  betas = sigmoid_schedule(temperatures)
  steps = jnp.asarray(np.diff(betas), jnp.float32)

  def anneal(carry: tuple[Point, Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[PyTree, Array]:
    point, log_weight, log_step = carry
    beta, increment, t = inputs
    draws = jax.vmap(lambda key: random.row_keys(jax.random.fold_in(key, t), index))(keys)
    point, probability = _transition(target, point, beta, jnp.exp(log_step), draws, leapfrog)
    log_step += GAIN * (jnp.mean(probability[chains:], axis=0) - ACCEPTANCE)
    return (point, log_weight + increment * point.log_likelihood, log_step), jnp.mean(probability[:chains], axis=0)

  given = given_of(batch, algorithm.given)
  first = target.at(jax.vmap(lambda key: algorithm.prior_sample(state, key, index, given))(keys))
  carry = (first, steps[0] * first.log_likelihood, jnp.full(len(index), math.log(FIRST_STEP)))
  inputs = (jnp.asarray(betas[1:-1], jnp.float32), steps[1:], jnp.arange(1, temperatures))
  (_, log_weight, _), accepted = lax.scan(anneal, carry, inputs)
  return log_weight[:chains], jnp.sum(accepted, axis=0) / max(temperatures - 1, 1)


def _transition(
  target: Target, point: Point, beta: Array, step: Array, keys: Array, leapfrog: int
) -> tuple[Point, Array]:
  """One transition of Hamiltonian Monte Carlo, which leaves p(z) p(x|z)^beta unchanged (Neal 2011, Section 3.2).

  Returns the new point, and the probability [K, B] with which each chain accepts its proposal; ``keys`` are [K, B].
  """
  momentum = _normal_like(keys, point.z)
  half = _move(momentum, point.force(beta), 0.5 * step)

  def leap(_: Array, where: tuple[Latents, Latents]) -> tuple[Latents, Latents]:
    z, momentum = where
    z = _move(z, momentum, step)
    return z, _move(momentum, target.force(z, beta), step)

  z, last = lax.fori_loop(0, leapfrog - 1, leap, (point.z, half))
  new = target.at(_move(z, last, step))
  energy = new.log_density(beta) - _kinetic(_move(last, new.force(beta), 0.5 * step))
  log_ratio = energy - (point.log_density(beta) - _kinetic(momentum))
  # A path that left the range of floats is not accepted.
  probability = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
  accept = jax.vmap(lambda keys: random.uniform(random.row_stream(keys, "accept"), ()))(keys) < probability
  kept = jax.tree.map(lambda a, b: jnp.where(accept.reshape(*accept.shape, *[1] * (a.ndim - 2)), a, b), new, point)
  return kept, probability


def _chain_keys(rng: Array, name: str, count: int) -> Array:
  return jax.vmap(lambda i: jax.random.fold_in(random.stream(rng, name), i))(jnp.arange(count))


def _normal_like(keys: Array, z: Latents) -> Latents:
  """Draws N(0, 1) in the shapes of ``z`` [K, B, ...] from keys [K, B], with a stream for each layer."""
  leaves, structure = jax.tree.flatten(z)

  def draw(i: int, shape: tuple[int, ...]) -> Array:
    return jax.vmap(lambda keys: random.normal(random.row_stream(keys, f"momentum{i}"), shape))(keys)

  return jax.tree.unflatten(structure, [draw(i, leaf.shape[2:]) for i, leaf in enumerate(leaves)])


def _move(where: Latents, direction: Latents, step: Array) -> Latents:
  """Returns where + step * direction, [K, B, ...], with a step for each image [B]."""
  return jax.tree.map(lambda a, d: a + step.reshape(1, -1, *[1] * (a.ndim - 2)) * d, where, direction)


def _kinetic(momentum: Latents) -> Array:
  """Returns |momentum|^2 / 2, [K, B, ...] -> [K, B]."""
  layers = [jnp.sum(p.reshape(*p.shape[:2], -1) ** 2, axis=-1) for p in jax.tree.leaves(momentum)]
  return 0.5 * jnp.sum(jnp.stack(layers), axis=0)


@dataclasses.dataclass(frozen=True)
class AnnealedNll:
  """Computes "ais_nll", the mean of -log of the mean weight, whose expectation is above -log p(x).

  The arrays describe the chains of each image: "acceptance" [images], the rate of accepted transitions, which should be
  near 0.65, and "effective_chains" [images]. The latter is 1 if a single weight dominates, which calls for more
  temperatures.

  Attributes:
    images: use the first images of the split only.
    chains: for each image.
    temperatures: between the prior and the posterior.
    leapfrog: gradients in a transition.
    pilots: further chains for each image, which set the steps of the integrator.
    chunk: images times chains in one pass of the decoder of one device, at least the chains of an image. Only speed and
      memory depend on it, and results up to rounding, which an acceptance can amplify.
  """

  images: int = 100
  chains: int = 16
  temperatures: int = 1000
  leapfrog: int = 10
  pilots: int = 4
  chunk: int = 500
  better: ClassVar[dict[str, str]] = {"ais_nll": "min"}

  def __post_init__(self):
    check_positive(self, "chains", "temperatures", "leapfrog", "pilots", "chunk")
    if self.images < 2:
      raise ConfigError(f"images={self.images}: a standard error needs 2 or more")

  def __call__(self, model: Model, feed: EvalFeed) -> LikelihoodResult:
    """Scores the first images of the split.

    Raises:
      ConfigError: the likelihood is not a density.
    """
    model.check_density("ais")
    algorithm = model.algorithm

    def values(state: PyTree, batch: Batch, rng: Array) -> tuple[Array, Array]:
      settings = {name: getattr(self, name) for name in ("chains", "temperatures", "leapfrog", "pilots")}
      key = random.stream(rng, "annealed")
      log_weights, acceptance = annealed_log_weights(algorithm, state, batch, key, **settings)
      return log_weights.T, acceptance

    annealed = model.per_image(self, values)
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
    """Yields the inputs of the first images, as many at a time as ``chunk`` allows."""
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
  """Returns the inputs of the first ``count`` images of a feed, whole on every process."""
  parts: list[dict[str, np.ndarray]] = []
  for inputs in feed:
    rows = to_host(inputs)
    parts.append({name: values[rows["mask"] > 0] for name, values in rows.items()})
    if sum(len(part["index"]) for part in parts) >= count:
      break
  return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}
