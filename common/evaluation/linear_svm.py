"""A linear L2-SVM, one class against the rest, on features of many examples that are held in half precision.

For each class k it minimises  weight_decay / 2 |w|^2 + mean_i max(0, 1 - y_i (w x_i + b))^2,  y_i = 1 for examples of
class k and -1 for the others, x standardised, b free: LIBLINEAR's L2-loss SVM with C = 1 / (weight_decay N), but there
b is part of w.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.types import Array

CHUNK = 1024  # examples in float32 at a time
CONVERGED = 1e-3  # a gradient of so much of the first one's length; LIBLINEAR's rule for ten classes of equal size
NEWTON_STEPS, CG_STEPS, HALVINGS = 50, 100, 20


class Table(NamedTuple):
  """Features float16 [M, CHUNK, D], labels int32 [M, CHUNK], -1 for padding; float32 mean and deviation [D].

  The deviation of a constant feature is 1.
  """

  x: Array
  labels: Array
  mean: Array
  deviation: Array


class Fit(NamedTuple):
  """Weights [D + 1, K] of standardised features, the last row b; the gradient's length over that at 0; passes."""

  weights: Array
  ratio: Array
  passes: Array


def tabulate(parts: Iterable[np.ndarray], labels: np.ndarray, dim: int) -> Table:
  """A table of features that come in ``parts`` [CHUNK, dim], the last of which may be shorter; nothing else is held.

  Raises:
    ValueError: features beyond what float16 holds.
  """
  chunks = math.ceil(len(labels) / CHUNK)
  x = jnp.zeros((chunks, CHUNK, dim), jnp.float16)
  for i, part in enumerate(parts):
    whole = np.zeros((CHUNK, dim), np.float32)
    whole[: len(part)] = part
    x = _put(x, whole, i)
  padded = np.full(chunks * CHUNK, -1, np.int32)
  padded[: len(labels)] = labels
  known = jnp.asarray(padded.reshape(chunks, CHUNK))
  mean, deviation = _moments(x, known)
  if not np.all(np.isfinite(mean)):
    raise ValueError(f"{np.sum(~np.isfinite(mean))} of {dim} features are beyond 65,504, the largest of float16")
  return Table(x, known, mean, deviation)


@functools.partial(jax.jit, donate_argnums=0)
def _put(x: Array, part: Array, i: Array) -> Array:
  return lax.dynamic_update_slice(x, part.astype(x.dtype)[None], (i, 0, 0))


@jax.jit
def _moments(x: Array, labels: Array) -> tuple[Array, Array]:
  """Mean and deviation [D], in two passes so that nothing cancels."""
  total = jnp.sum(labels >= 0)

  def mean_of(value: Callable[[Array], Array]) -> Array:
    def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
      rows, labels = chunk
      return total + jnp.sum(jnp.where(labels[:, None] >= 0, value(rows.astype(jnp.float32)), 0.0), axis=0), None

    return lax.scan(add, jnp.zeros(x.shape[2]), (x, labels))[0] / total

  mean = mean_of(lambda rows: rows)
  deviation = jnp.sqrt(mean_of(lambda rows: (rows - mean) ** 2))
  return mean, jnp.where(deviation == 0.0, 1.0, deviation)


def predict(weights: Array, table: Table, standard: Table) -> np.ndarray:
  """The class of the largest score for each example of ``table``, standardised as ``standard`` is; int [N]."""
  classes = np.asarray(_predict(weights, table.x, standard.mean, standard.deviation))
  return classes[np.asarray(table.labels) >= 0]


@jax.jit
def _predict(weights: Array, x: Array, mean: Array, deviation: Array) -> Array:
  slope, offset = _plain(weights, mean, deviation)
  return lax.map(lambda rows: jnp.argmax(_scores(rows, slope, offset), axis=1), x)


def _plain(weights: Array, mean: Array, deviation: Array) -> tuple[Array, Array]:
  """Weights of standardised features -> slope [D, K] and offset [K] of the features as they are."""
  slope = weights[:-1] / deviation[:, None]
  return slope, weights[-1] - _dot(mean, slope)


def _scores(rows: Array, slope: Array, offset: Array) -> Array:
  return _dot(rows.astype(jnp.float32), slope) + offset


def _dot(a: Array, b: Array) -> Array:
  return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnames="num_classes")
def fit(table: Table, num_classes: int, weight_decay: Array, start: Array) -> Fit:
  """The optimum by the finite Newton method of Keerthi & DeCoste 2005, from ``start`` [D + 1, K].

  The loss is piecewise quadratic in w: a step solves, by conjugate gradients, for the examples inside the margin, and
  goes as far as the loss falls, up to twice its length. The classes go side by side: a pass over the data is for all.
  """
  x, labels, mean, deviation = table
  dim = x.shape[2]
  real = (labels >= 0).astype(jnp.float32)[..., None]
  count = jnp.sum(real)
  y = 2.0 * jax.nn.one_hot(labels, num_classes) - 1.0  # [M, CHUNK, K]
  decay = jnp.full((dim + 1, 1), weight_decay).at[-1].set(0.0)

  def scores(weights: Array) -> Array:
    slope, offset = _plain(weights, mean, deviation)
    return lax.map(lambda rows: _scores(rows, slope, offset), x)

  def gather(inner: Callable[[Array, Array], Array], values: Array) -> Array:
    """2 / N sum_i x_i inner(rows, value)_i over the data, [D + 1, K]."""

    def add(total: tuple[Array, Array], chunk: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
      rows, value = chunk
      rows = rows.astype(jnp.float32)
      parts = inner(rows, value)
      # Three times as fast as rows.T @ parts, for which XLA:CPU walks the rows across.
      return (total[0] + _dot(parts.T, rows), total[1] + jnp.sum(parts, axis=0)), None

    zero = jnp.zeros((num_classes, dim)), jnp.zeros(num_classes)
    (product, ones), _ = lax.scan(add, zero, (x, values))
    product = (product.T - mean[:, None] * ones) / deviation[:, None]
    return 2.0 / count * jnp.concatenate([product, ones[None]])

  def inside(s: Array) -> Array:
    return real * (y * s < 1.0)

  def gradient(weights: Array, s: Array) -> Array:
    return gather(lambda _, residual: residual, inside(s) * (s - y)) + decay * weights

  def direction(s: Array, g: Array, tolerance: Array) -> tuple[Array, Array]:
    """The Newton step, by conjugate gradients for each class; and how many of them."""
    active = inside(s)

    def product(v: Array) -> Array:
      slope, offset = _plain(v, mean, deviation)
      return gather(lambda rows, active: active * (_dot(rows, slope) + offset), active) + decay * v

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
      i, v, r, p, rr = carry
      hp = product(p)
      alpha = _ratio(rr, jnp.sum(p * hp, axis=0))
      v, r = v + alpha * p, r - alpha * hp
      new = jnp.sum(r * r, axis=0)
      return i + 1, v, r, r + _ratio(new, rr) * p, new

    target = tolerance**2 * jnp.sum(g * g, axis=0)
    begin: tuple[Array, ...] = (jnp.zeros((), jnp.int32), jnp.zeros_like(g), -g, -g, jnp.sum(g * g, axis=0))
    end = lax.while_loop(lambda carry: (carry[0] < CG_STEPS) & jnp.any(carry[4] > target), step, begin)
    return end[1], end[0]

  def length(weights: Array, s: Array, v: Array, t: Array) -> Array:
    """Where in [0, 2] the loss along v is least, [K]; its derivative rises, so halving finds it."""
    flat, curve = jnp.sum(decay * weights * v, axis=0), jnp.sum(decay * v * v, axis=0)

    def slope(a: Array) -> Array:
      moved = s + a * t
      return flat + a * curve + 2.0 / count * jnp.sum(inside(moved) * (moved - y) * t, axis=(0, 1))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
      low, high = ends
      middle = 0.5 * (low + high)
      rising = slope(middle) > 0.0
      return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    low, high = lax.fori_loop(0, HALVINGS, halve, (jnp.zeros(num_classes), jnp.full(num_classes, 2.0)))
    return 0.5 * (low + high)

  zero = jnp.zeros_like(start)
  first = jnp.linalg.norm(gradient(zero, jnp.zeros_like(y)))

  def newton(carry: tuple[Array, ...]) -> tuple[Array, ...]:
    i, passes, weights, s, g = carry
    v, used = direction(s, g, jnp.minimum(0.1, jnp.sqrt(jnp.linalg.norm(g) / first)))
    t = scores(v)
    a = length(weights, s, v, t)
    weights, s = weights + a * v, s + a * t
    return i + 1, passes + used + 2, weights, s, gradient(weights, s)

  def unfinished(carry: tuple[Array, ...]) -> Array:
    return (carry[0] < NEWTON_STEPS) & (jnp.linalg.norm(carry[4]) > CONVERGED * first)

  s = scores(start)
  begin: tuple[Array, ...] = (jnp.zeros((), jnp.int32), jnp.asarray(3, jnp.int32), start, s, gradient(start, s))
  _, passes, weights, _, g = lax.while_loop(unfinished, newton, begin)
  return Fit(weights, jnp.linalg.norm(g) / first, passes)


def _ratio(a: Array, b: Array) -> Array:
  return jnp.where(b > 0.0, a / jnp.where(b > 0.0, b, 1.0), 0.0)


class Chosen(NamedTuple):
  """The fit whose predictions of the validation examples are best, and each weight decay with its accuracy there."""

  fit: Fit
  weight_decay: float
  tried: dict[float, float]


def choose(table: Table, validation: Table, num_classes: int, decays: Sequence[float]) -> Chosen:
  """Fits with falling ``decays``, each from where the last ended, until one does no better on validation."""
  labels = np.asarray(validation.labels)
  labels = labels[labels >= 0]
  found, tried = jnp.zeros((table.x.shape[2] + 1, num_classes)), {}
  best: tuple[float, float, Fit] | None = None
  for decay in decays:
    current = fit(table, num_classes, jnp.float32(decay), found)
    found = current.weights
    tried[decay] = float(np.mean(predict(found, validation, table) == labels))
    if best is not None and tried[decay] <= best[0]:
      break
    best = tried[decay], decay, current
  assert best is not None
  return Chosen(best[2], best[1], tried)
