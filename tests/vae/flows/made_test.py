"""What MADE's outputs depend on, by their derivatives."""

import jax
import numpy as np
import pytest

from tests.vae.flows.parameters import drawn
from vae.flows.made import MADE

Z, H = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)


def jacobian(made, *args, of=1):
  """[outputs, Z, ...], by z (of=1) or by the context (of=2)."""
  return np.asarray(jax.jit(jax.jacobian(made.apply, of))(drawn(made.init, *args), *args))


@pytest.mark.parametrize(
  ("order", "layers", "context"),
  [((0, 1, 2, 3, 4), 1, ()), ((4, 3, 2, 1, 0), 2, (H[:3],)), ((2, 0, 3, 1, 4), 1, (H[:3],)), ((2, 0, 3, 1, 4), 3, ())],
)
def test_an_output_sees_all_earlier_coordinates_and_no_other(order, layers, context):
  found = jacobian(MADE(order, outputs=2, width=23, layers=layers), Z[:5], *context)
  earlier = np.array(order)[None] < np.array(order)[:, None]
  np.testing.assert_array_equal(found != 0, [earlier, earlier])


@pytest.mark.parametrize("size", [1, 4])
def test_every_output_sees_the_context_and_so_does_that_of_a_lone_coordinate(size):
  assert np.all(jacobian(MADE(tuple(range(size)), outputs=2, width=9, layers=2), Z[:size], H[:3], of=2) != 0)


def test_a_lone_coordinate_sees_nothing():
  np.testing.assert_array_equal(jacobian(MADE((0,), width=4), Z[:1]), [[[0.0]]])


def test_a_width_below_the_size_still_reaches_late_coordinates():
  pattern = jacobian(MADE(tuple(range(12)), width=4), Z)[0] != 0
  assert not np.any(np.triu(pattern))
  assert pattern[-1].sum() >= 8


def test_an_order_that_is_no_permutation_is_an_error():
  with pytest.raises(ValueError, match="no permutation of 0 .. 2"):
    MADE((0, 2, 2))


def test_leading_axes_are_rows():
  made = MADE((1, 0, 2), outputs=2, width=8)
  z, h = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
  params = drawn(made.init, z, h)
  together = made.apply(params, z, h)
  assert together.shape == (4, 5, 2, 3)
  np.testing.assert_allclose(together[2, 3], made.apply(params, z[2, 3], h[2, 3]), rtol=1e-5, atol=1e-6)
