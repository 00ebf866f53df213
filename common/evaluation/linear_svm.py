"""A linear L2-SVM, one class against the rest, on features in half precision (Radford et al. 2015, Section 5.1).

For each class k it minimises  weight_decay / 2 |w|^2 + mean_i max(0, 1 - y_i (w x_i + b))^2,  where y_i is 1 for
examples of class k and -1 for the others, x is standardised and b is free. This is the squared hinge loss of LIBLINEAR
with C = 1 / (weight_decay N), except that LIBLINEAR also penalises b.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

from common.types import Array

CONVERGED = 3e-4  # the largest element of the preconditioned gradient, relative to that at w = 0
Parts = Sequence[tuple[Array, Array]]  # features float16 [B, D] and labels int32 [B], some examples at a time


class Standard(NamedTuple):
  """Mean and deviation [D] of features (1 for a constant one), and E[x x'] [D + 1, D + 1] of `standardised` ones."""

  mean: Array
  deviation: Array
  second_moment: np.ndarray


class Fit(NamedTuple):
  """Weights [K, D + 1] of standardised features, b last; and the gradient that is left, relative to that at w = 0."""

  weights: np.ndarray
  gradient_ratio: float


def standard_of(parts: Parts) -> Standard:
  """Computes the moments over all examples."""
  count, zero = sum(len(x) for x, _ in parts), jnp.zeros(parts[0][0].shape[1])
  mean = sum((jnp.sum(x, axis=0, dtype=jnp.float32) for x, _ in parts), zero) / count
  variance = sum((jnp.sum((x - mean) ** 2, axis=0) for x, _ in parts), zero) / count
  deviation = jnp.where(variance == 0.0, 1.0, jnp.sqrt(variance))
  rows = (standardised(x, mean, deviation) for x, _ in parts)
  return Standard(mean, deviation, np.asarray(sum(_dot(x.T, x) for x in rows)) / count)


def fit(parts: Parts, standard: Standard, weight_decay: float, start: np.ndarray) -> Fit:
  """Minimises the loss for all classes at once by L-BFGS, from ``start`` [K, D + 1].

  With all examples inside the margin the Hessian is H = 2 E[x x'] + weight_decay. L-BFGS works on v = L' w, where
  H = L L', because it needs a tenth of the steps there.
  """
  count, dim = sum(len(x) for x, _ in parts), len(standard.mean)
  decay = np.append(np.full(dim, weight_decay, np.float32), np.float32(0.0))
  # The last term keeps the matrix positive definite in float32.
  hessian = 2.0 * standard.second_moment + np.diag(decay + np.float32(1e-6 * dim))
  lower = cholesky(hessian, lower=True, overwrite_a=True, check_finite=False)

  def weights_of(v: np.ndarray) -> np.ndarray:
    rows = np.float32(v).reshape(start.shape)
    return solve_triangular(lower, rows.T, lower=True, trans="T", check_finite=False).T

  def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
    weights = weights_of(v)
    sums = [_hinge(weights, standard.mean, standard.deviation, x, labels) for x, labels in parts]
    value = sum(float(value) for value, _ in sums) / count + 0.5 * float(np.sum(decay * weights**2))
    gradient = np.asarray(sum(gradient for _, gradient in sums)) / count + decay * weights
    return value, np.float64(solve_triangular(lower, gradient.T, lower=True, check_finite=False).T).ravel()

  first = np.max(np.abs(loss(np.zeros(start.size))[1]))
  options = {"gtol": CONVERGED * first, "ftol": 0.0, "maxiter": 500, "maxcor": 20}
  found = minimize(loss, np.ravel(start @ lower), jac=True, method="L-BFGS-B", options=options)
  return Fit(weights_of(found.x), float(np.max(np.abs(found.jac)) / first))


def choose(
  parts: Parts, standard: Standard, validation: Parts, num_classes: int, decays: Sequence[float]
) -> tuple[Fit, dict[float, float]]:
  """Fits with falling ``decays``, each from the last optimum, until the validation accuracy no longer rises.

  Returns:
    the fit that is best on ``validation``, and {weight decay: validation accuracy} of all that were tried.
  """
  labels = np.concatenate([labels for _, labels in validation])
  current = best = Fit(np.zeros((num_classes, len(standard.mean) + 1), np.float32), 1.0)
  tried: dict[float, float] = {}
  for decay in decays:
    current = fit(parts, standard, decay, current.weights)
    accuracy = float(np.mean(predict(current.weights, standard, validation) == labels))
    better = accuracy > max(tried.values(), default=-1.0)
    tried[decay] = accuracy
    if not better:
      break
    best = current
  return best, tried


def predict(weights: np.ndarray, standard: Standard, parts: Parts) -> np.ndarray:
  """Returns the class with the largest score for each example, int [N]."""
  scores = (_scores(weights, standard.mean, standard.deviation, x) for x, _ in parts)
  return np.concatenate([np.argmax(part, axis=1) for part in scores])


def standardised(x: Array, mean: Array, deviation: Array) -> Array:
  """Scales features to mean 0 and deviation 1 in float32, and appends a 1: [B, D] -> [B, D + 1]."""
  return jnp.pad((x.astype(jnp.float32) - mean) / deviation, ((0, 0), (0, 1)), constant_values=1.0)


@jax.jit
def _dot(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


@jax.jit
def _scores(weights: Array, mean: Array, deviation: Array, x: Array) -> Array:
  return _dot(standardised(x, mean, deviation), weights.T)


@jax.jit
@jax.value_and_grad
def _hinge(weights: Array, mean: Array, deviation: Array, x: Array, labels: Array) -> Array:
  """Computes the squared hinge loss, summed over some examples and all classes."""
  y = 2.0 * jax.nn.one_hot(labels, len(weights)) - 1.0
  return jnp.sum(nn.relu(1.0 - y * _scores(weights, mean, deviation, x)) ** 2)
