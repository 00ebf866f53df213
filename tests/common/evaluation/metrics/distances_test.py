"""Neighbours and balls against a double loop in float64, where float32 alone would err too."""

import numpy as np
import pytest

from common.evaluation.metrics import distances
from common.evaluation.metrics.distances import balls_around, kth_distance, nearest

RNG = np.random.default_rng(0)


def brute_force(queries, points, exclude_self=False):
  """[N, M] by a double loop over the pairs."""
  queries, points = queries.astype(np.float64), points.astype(np.float64)
  found = np.array([[np.sqrt(np.sum((x - y) ** 2)) for y in points] for x in queries])
  if exclude_self:
    np.fill_diagonal(found, np.inf)
  return found


def clustered(count, dim, seed, *, offset=0.0, spread=1.0):
  """Five tight clusters far apart, where differences of squares lose their digits."""
  rng = np.random.default_rng(seed)
  centres = 30.0 * np.random.default_rng(99).normal(size=(5, dim))
  return (offset + centres[rng.integers(5, size=count)] + spread * rng.normal(size=(count, dim))).astype(np.float32)


SETS = {
  "plain": (RNG.normal(size=(57, 8)).astype(np.float32), RNG.normal(size=(83, 8)).astype(np.float32)),
  "far from 0": (clustered(57, 8, 1, offset=5000.0), clustered(83, 8, 2, offset=5000.0)),
  "tight clusters": (clustered(57, 8, 1, spread=1e-3), clustered(83, 8, 2, spread=1e-3)),
  "outliers": tuple(np.append(clustered(56, 8, seed), [[far] * 8], axis=0) for seed, far in ((1, 1e6), (2, -1e6))),
  "tiny": (1e-25 * RNG.normal(size=(57, 3)), 1e-25 * RNG.normal(size=(83, 3))),
  "huge": (1e25 * RNG.normal(size=(57, 3)), 1e25 * RNG.normal(size=(83, 3))),
  "a grid of ties": (
    RNG.integers(3, size=(57, 2)).astype(np.float32),
    RNG.integers(3, size=(83, 2)).astype(np.float32),
  ),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("block", [distances.BLOCK, 83 * 10])
def test_the_nearest_are_those_of_a_double_loop(name, block):
  queries, points = SETS[name]
  everything = brute_force(queries, points)
  found, indices = nearest(queries, points, 4, block=block)
  np.testing.assert_allclose(found, np.sort(everything, axis=1)[:, :4], rtol=1e-14)
  np.testing.assert_allclose(np.take_along_axis(everything, indices, axis=1), found, rtol=1e-14)
  assert all(len(set(row)) == 4 for row in indices)


@pytest.mark.parametrize("name", SETS)
def test_a_point_is_no_neighbour_of_itself(name):
  points = SETS[name][1]
  everything = brute_force(points, points, exclude_self=True)
  found, indices = nearest(points, points, 3, exclude_self=True, block=200)
  np.testing.assert_allclose(found, np.sort(everything, axis=1)[:, :3], rtol=1e-14)
  assert not np.any(indices == np.arange(len(points))[:, None])
  np.testing.assert_array_equal(kth_distance(points, 3), found[:, -1])


def test_a_copy_of_a_point_is_its_neighbour():
  points = np.repeat(SETS["plain"][1], 2, axis=0)
  found, indices = nearest(points, points, 1, exclude_self=True)
  assert np.all(found == 0.0)
  np.testing.assert_array_equal(indices[:, 0], np.arange(len(points)) ^ 1)


def test_all_points_can_be_asked_for():
  queries, points = SETS["plain"]
  found = nearest(queries, points, len(points))
  np.testing.assert_array_equal(np.sort(found[1], axis=1), np.tile(np.arange(len(points)), (len(queries), 1)))
  np.testing.assert_allclose(found[0], np.sort(brute_force(queries, points), axis=1), rtol=1e-14)


def test_float32_alone_takes_others():
  """The sets bite: what the device finds in float32 without an exact second look is another answer."""
  for name in ("far from 0", "tight clusters"):
    queries, points = SETS[name]
    lengths = np.sum(queries**2, axis=1)[:, None] + np.sum(points**2, axis=1)
    naive = np.argmin(lengths - 2 * queries @ points.T, axis=1)
    assert np.any(naive != nearest(queries, points, 1)[1][:, 0])


def test_many_points_in_one_tight_cluster_are_looked_at_again(monkeypatch):
  """One far point makes float32 blind to the differences of the others: every row goes the long way."""
  points = np.append(1e-6 * RNG.normal(size=(100, 4)), [[1.0] * 4], axis=0).astype(np.float32)
  calls = []
  original = distances._Frame.candidates_in_float64

  def counted(frame, queries, points, rows, *rest):
    calls.append(len(rows))
    return original(frame, queries, points, rows, *rest)

  monkeypatch.setattr(distances._Frame, "candidates_in_float64", counted)
  found, _ = nearest(points + np.float32(3), points + np.float32(3), 3, exclude_self=True, block=1000)
  everything = brute_force(points + np.float32(3), points + np.float32(3), exclude_self=True)
  np.testing.assert_allclose(found, np.sort(everything, axis=1)[:, :3], rtol=1e-14)
  found, _ = nearest(points, points, 3, exclude_self=True, block=1000)
  np.testing.assert_allclose(found, np.sort(brute_force(points, points, exclude_self=True), axis=1)[:, :3], rtol=1e-14)
  assert sum(calls) >= 100 and max(calls) <= 10


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("strict", [False, True])
def test_balls_are_counted_as_by_a_double_loop(name, strict):
  queries, points = SETS[name]
  radii = kth_distance(points, 3)
  everything = np.array(
    [
      distances._distances(queries, points, np.full(len(points), i), np.arange(len(points)))
      for i in range(len(queries))
    ]
  )
  np.testing.assert_allclose(everything, brute_force(queries, points), rtol=1e-14)
  inside = everything < radii if strict else everything <= radii
  for block in (distances.BLOCK, 200):
    np.testing.assert_array_equal(balls_around(queries, points, radii, strict=strict, block=block), inside.sum(axis=1))


def test_the_surface_of_a_ball_is_hit_exactly():
  """The k-th neighbour of a point lies on its ball: in by <=, out by <."""
  points = SETS["far from 0"][1]
  radii, last = kth_distance(points, 3), nearest(points, points, 3, exclude_self=True)[1][:, -1]
  for i in range(len(points)):
    at = points[last[i]][None]
    assert balls_around(at, points[i][None], radii[i : i + 1]) == 1
    assert balls_around(at, points[i][None], radii[i : i + 1], strict=True) == 0
  np.testing.assert_array_equal(balls_around(points, points, radii * 0.0), np.ones(len(points)))


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda x: nearest(x, x, 0), "k=0 neighbours of 6 points"),
    (lambda x: nearest(x, x, 6, exclude_self=True), "k=6 neighbours of 5 points"),
    (lambda x: nearest(x[:3], x, 1, exclude_self=True), "3 queries and 6 points"),
    (lambda x: nearest(x[:, :1], x, 1), "features of 1 and 2 numbers"),
    (lambda x: nearest(x[0], x, 1), r"queries of shape \(2,\)"),
    (lambda x: nearest(x, x * np.array([[1], [np.nan], [1], [1], [np.inf], [1]]), 1), "2 of 6 points are not finite"),
    (lambda x: balls_around(x, x, np.ones(5)), r"radii of shape \(5,\) are not 6"),
    (lambda x: balls_around(x, x, -np.ones(6)), "0 or more"),
  ],
)
def test_what_has_no_neighbours_is_an_error(call, message):
  with pytest.raises(ValueError, match=message):
    call(np.arange(12.0).reshape(6, 2) + 1.0)
