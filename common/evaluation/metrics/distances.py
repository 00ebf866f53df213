"""Euclidean distances between two sets of features, with the exactness of float64 and in bounded memory.

The device computes |x|^2 + |y|^2 - 2 x.y for all pairs in float32, with a bound on the rounding error. The host decides
pairs within that bound by the sum of squared differences in float64. Neighbours and ball memberships are therefore
those of a double loop for any offset and scale of the features, and equal pairs stay equal.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.evaluation.metrics.feature_sets import check_features
from common.types import Array

SPARE = 12  # candidates beyond k, with which the k nearest are nearly always certain
BLOCK = 1 << 24  # numbers in a block of distances


def nearest(
  queries: np.ndarray, points: np.ndarray, k: int, *, exclude_self: bool = False, block: int = BLOCK
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the k nearest points of each query, nearest first: distances float64 [N, k] and indices int64 [N, k].

  Args:
    queries: [N, D].
    points: [M, D].
    k: 1 or more.
    exclude_self: the queries are the points, and point i is no neighbour of query i, but a copy of it is.
    block: numbers in a block of distances; memory follows it, the result does not.

  Raises:
    ValueError: shapes that do not fit, values that are not finite, or fewer than k points.
  """
  queries, points = check_features(queries, "queries"), check_features(points, "points")
  if exclude_self and len(queries) != len(points):
    raise ValueError(f"exclude_self needs the same rows twice, not {len(queries)} queries and {len(points)} points")
  available = len(points) - exclude_self
  if not 1 <= k <= available:
    raise ValueError(f"k={k} neighbours of {available} points; k must be 1 or more and at most their number")
  frame, count = _Frame(queries, points), min(k + SPARE, available)
  all_distances, all_columns = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
  for rows, batch in frame.blocks(block):
    found = _candidates(batch, frame.points, rows[0], exclude_self, count)
    columns, floor = (np.asarray(array)[: len(rows)] for array in found)
    distances, columns = _smallest(queries, points, rows, columns, k)
    # All other points are at least as far as the floor; if that is nearer than the k-th, one may be missing.
    beyond = np.full(len(rows), np.inf) if count == available else frame.scale * np.sqrt(np.maximum(floor, 0.0))
    open_rows = np.flatnonzero(distances[:, -1] > beyond)
    for part in np.array_split(open_rows, max(1, len(open_rows) * len(points) // block)):
      more = frame.candidates_in_float64(queries, points, rows[part], exclude_self, count)
      distances[part], columns[part] = _smallest(queries, points, rows[part], more, k)
    all_distances[rows], all_columns[rows] = distances, columns
  return all_distances, all_columns


def kth_distance(points: np.ndarray, k: int, *, block: int = BLOCK) -> np.ndarray:
  """Returns each point's distance to the k-th nearest other one, [M, D] -> float64 [M]; 0 if it has k copies.

  Raises:
    ValueError: as `nearest` does.
  """
  return nearest(points, points, k, exclude_self=True, block=block)[0][:, -1]


def balls_around(
  queries: np.ndarray, points: np.ndarray, radii: np.ndarray, *, strict: bool = False, block: int = BLOCK
) -> np.ndarray:
  """Counts for each query the balls of radius ``radii[j]`` around ``points[j]`` that contain it, int64 [N].

  Args:
    queries: [N, D].
    points: [M, D].
    radii: [M], 0 or more; from `kth_distance`, so that a point on the surface is recognised.
    strict: whether the surface is excluded.
    block: numbers in a block of distances; memory follows it, the result does not.

  Raises:
    ValueError: shapes that do not fit, or values that are not finite.
  """
  queries, points = check_features(queries, "queries"), check_features(points, "points")
  radii = np.asarray(radii, np.float64)
  if radii.shape != (len(points),) or not np.all(radii >= 0) or not np.all(np.isfinite(radii)):
    raise ValueError(f"radii of shape {radii.shape} are not {len(points)} finite numbers of 0 or more")
  frame, counts = _Frame(queries, points), np.empty(len(queries), np.int64)
  squares = np.square(radii / frame.scale).astype(np.float32)
  for rows, batch in frame.blocks(block):
    sure, perhaps = (np.asarray(array)[: len(rows)] for array in _memberships(batch, frame.points, squares))
    some, columns = np.nonzero(perhaps)
    exact = _distances(queries, points, rows[some], columns)
    inside = exact < radii[columns] if strict else exact <= radii[columns]
    counts[rows] = sure + np.bincount(some[inside], minlength=len(rows))
  return counts


class _Frame:
  """Both sets in float32, relative to the points' mean so that an offset costs no digits, and scaled to length 1."""

  def __init__(self, queries: np.ndarray, points: np.ndarray):
    if queries.shape[1] != points.shape[1]:
      raise ValueError(f"features of {queries.shape[1]} and {points.shape[1]} numbers are not of one extractor")
    self._queries, self._centre = queries, np.mean(points, axis=0, dtype=np.float64)
    longest = max(float(np.max(np.abs(rows - self._centre))) for rows in (queries, points))
    self.scale = longest * np.sqrt(queries.shape[1]) or 1.0
    self.points = jnp.asarray(self._rounded(points))

  def blocks(self, block: int) -> Iterator[tuple[np.ndarray, Array]]:
    """Yields indices of queries, and these in float32; repeating the last query gives all blocks one shape."""
    size = min(max(block // len(self.points), 1), len(self._queries))
    for start in range(0, len(self._queries), size):
      rows = np.arange(start, start + size)
      batch = jnp.asarray(self._rounded(self._queries[np.minimum(rows, len(self._queries) - 1)]))
      yield rows[: len(self._queries) - start], batch

  def candidates_in_float64(
    self, queries: np.ndarray, points: np.ndarray, rows: np.ndarray, exclude_self: bool, count: int
  ) -> np.ndarray:
    """Returns the ``count`` nearest points of some queries in any order, [B, count]."""
    ours, theirs = queries[rows] - self._centre, points - self._centre
    squares = np.sum(theirs**2, axis=1) - 2.0 * ours @ theirs.T
    if exclude_self:
      squares[np.arange(len(rows)), rows] = np.inf
    return np.argpartition(squares, count - 1, axis=1)[:, :count]

  def _rounded(self, features: np.ndarray) -> np.ndarray:
    return ((features - self._centre) / self.scale).astype(np.float32)


def _squares_and_errors(queries: Array, points: Array) -> tuple[Array, Array]:
  """Returns squared distances [B, M] and a bound on their errors from the inputs, three sums and a product.

  A sum of D products errs by about sqrt(D) roundings (Higham & Mary 2019); four times that is far on the safe side.
  """
  lengths = jnp.sum(queries**2, axis=1)[:, None] + jnp.sum(points**2, axis=1)
  squares = lengths - 2.0 * jnp.matmul(queries, points.T, precision=lax.Precision.HIGHEST)
  return squares, lengths * (2.0**-24 * (16.0 + 4.0 * queries.shape[1] ** 0.5))


@functools.partial(jax.jit, static_argnames=("exclude_self", "count"))
def _candidates(queries: Array, points: Array, first: Array, exclude_self: bool, count: int) -> tuple[Array, Array]:
  """Returns points that may be nearest, [B, count], and a lower bound on the squared distance of all others, [B].

  The smallest values are in the columns with the smallest minima; sorting only those is many times faster.
  """
  squares, errors = _squares_and_errors(queries, points)
  lower = squares - errors
  if exclude_self:
    itself = (first + jnp.arange(len(queries)))[:, None] == jnp.arange(len(points))
    lower = jnp.where(itself, jnp.inf, lower)
  groups = max(count, int((len(points) * count) ** 0.5))
  lower = jnp.pad(lower, ((0, 0), (0, -len(points) % groups)), constant_values=jnp.inf)
  lower = lower.reshape(len(queries), -1, groups)
  chosen = lax.top_k(-jnp.min(lower, axis=1), count)[1]
  within = jnp.take_along_axis(lower, chosen[:, None, :], axis=2).reshape(len(queries), -1)
  values, places = lax.top_k(-within, count)
  columns = places // count * groups + jnp.take_along_axis(chosen, places % count, axis=1)
  return columns, -values[:, -1]


@jax.jit
def _memberships(queries: Array, points: Array, radii: Array) -> tuple[Array, Array]:
  """Counts the balls of squared radii [M] that surely contain a query, [B], and marks undecided pairs, [B, M]."""
  squares, errors = _squares_and_errors(queries, points)
  errors += 2.0**-20 * radii
  sure = squares + errors < radii
  return jnp.sum(sure, axis=1), ~sure & (squares - errors <= radii)


def _distances(queries: np.ndarray, points: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
  """Returns |queries[rows] - points[columns]| in float64, [P]; equal to the bit for equal pairs in either order."""
  size = max(1, (1 << 22) // points.shape[1])
  out = np.empty(len(rows))
  for start in range(0, len(rows), size):
    part = slice(start, start + size)
    out[part] = np.sum(np.square(queries[rows[part]].astype(np.float64) - points[columns[part]]), axis=1)
  return np.sqrt(out)


def _smallest(
  queries: np.ndarray, points: np.ndarray, rows: np.ndarray, columns: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns distances and indices [B, k] of the nearest candidates, nearest first; ties go to the first point."""
  columns = np.sort(columns, axis=1)
  distances = _distances(queries, points, np.repeat(rows, columns.shape[1]), columns.ravel()).reshape(columns.shape)
  order = np.argsort(distances, axis=1, kind="stable")[:, :k]
  return np.take_along_axis(distances, order, axis=1), np.take_along_axis(columns, order, axis=1)
