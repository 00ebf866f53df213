"""What holds for every degradation, and for chains of them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.data.degradations import DEGRADATIONS, build_degradation
from common.errors import ConfigError
from common.parallel import make_mesh, split_rows
from configs import schema

SECTIONS = {
  "resize": {"scale": 4},
  "gaussian_blur": {"sigma": (0.2, 3.0)},
  "motion_blur": {"length": (1.0, 9.0)},
  "gaussian_noise": {"sigma": (0.0, 55.0)},
  "poisson_noise": {"peak": (5.0, 50.0)},
  "quantise": {},
  "jpeg": {"quality": (10.0, 90.0)},
  "grey": {},
  "box": {"height": 7, "width": 7, "place": "random"},
  "strokes": {},
  "pixels": {},
}
NOISE = ("gaussian_noise", "poisson_noise")
X = np.random.RandomState(0).randint(0, 256, (8, 16, 20, 3)).astype(np.float32) / 255
X[0], X[1] = 0.4, np.array([230, 127, 26]) / 255


def keys(rows, seed: int = 0):
  return random.row_keys(jax.random.key(seed), jnp.array(rows))


def chain(*names: str, quantise: bool = False, **arguments):
  """Builds a chain; the arguments go to the last."""
  sections = [{"name": name, **SECTIONS[name]} for name in names]
  sections[-1] |= arguments
  return build_degradation(sections, quantise)


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if name != "real_esrgan"])  # has a test of its own
def test_a_row_depends_on_its_image_and_key_and_a_flat_one_stays_flat(name):
  degradation = chain(name)
  degrade = jax.jit(degradation)
  done = np.asarray(degrade(X, keys(range(8))))
  assert done.shape == (8, *degradation.shape(X.shape[1:])) and done.dtype == np.float32
  # The same rows elsewhere in a batch of others.
  order = np.array([3, 0, 3, 6, 2, 5, 7, 1])
  np.testing.assert_array_equal(degrade(X[order], keys(order)), done[order])
  np.testing.assert_allclose(jax.jit(degradation)(X[2:3], keys([2])), done[2:3], atol=4e-6)
  if name not in NOISE:
    flat = done[:2]
    if flat.shape[-1] == 4:  # what is visible of it
      flat = np.where(flat[..., 3:] == 1, np.max(flat[..., :3], axis=(1, 2), keepdims=True), flat[..., :3])
    assert np.ptp(flat, axis=(1, 2)).max() < 1e-6
  if any(isinstance(value, tuple) for value in SECTIONS[name].values()) or name in NOISE:
    assert (np.asarray(degrade(X, keys(range(8), seed=1))) != done).any()


@pytest.mark.parametrize(
  ("name", "arguments"),
  [
    ("resize", {"method": "bicubic"}),
    ("resize", {"method": "area"}),
    ("gaussian_blur", {}),
    ("motion_blur", {"angle": 0.0}),
    ("motion_blur", {"angle": 90.0}),
    ("grey", {}),
  ],
)
def test_symmetric_degradations_commute_with_flips(name, arguments):
  degrade = jax.jit(chain(name, **arguments))
  flipped = degrade(X[:, ::-1, ::-1], keys(range(8)))
  np.testing.assert_allclose(flipped[:, ::-1, ::-1], degrade(X, keys(range(8))), atol=1e-6)


def test_steps_follow_each_other_with_draws_of_their_own():
  order = chain("quantise", "resize", method="area", quantise=True)
  assert order.shape((16, 20, 3)) == (4, 5, 3)
  clipped = np.clip(3 * X, 0, 1).reshape(8, 4, 4, 5, 4, 3).mean(axis=(2, 4))
  np.testing.assert_allclose(order(3 * X, keys(range(8))), clipped, atol=0.51 / 255)
  once, twice = (jax.jit(chain(*names, quantise=False))(X, keys(range(8))) - X for names in (NOISE[:1], NOISE[:1] * 2))
  assert abs(np.corrcoef(np.ravel(once), np.ravel(twice - once))[0, 1]) < 0.1


def test_an_image_as_it_is_may_be_seen():
  np.testing.assert_array_equal(build_degradation((), False)(X, keys(range(8))), X)


def test_eight_devices_see_what_one_sees():
  degrade = jax.jit(
    lambda x, index: chain("motion_blur", "gaussian_noise", "jpeg", "resize", quantise=True)(x, keys(index))
  )
  eight = split_rows((X, np.arange(8)), make_mesh())
  ours, alone = np.asarray(degrade(*eight)) * 255, np.asarray(degrade(X, np.arange(8))) * 255
  assert np.mean(np.round(ours) != np.round(alone)) < 0.01 and np.abs(ours - alone).max() < 1.01


def test_the_help_names_every_degradation():
  words = set(re.findall(r"\w+", schema.KEYS["data.degradation"].doc))
  assert set(DEGRADATIONS) <= words


@pytest.mark.parametrize(
  ("sections", "message"),
  [
    (({"name": "blur"},), 'config.data.degradation[0].name="blur" is not one of box'),
    (({"name": "resize"},), 'config.data.degradation[0] lacks scale, which "resize" needs'),
    (({"name": "grey"}, {"name": "jpeg", "q": 3}), 'config.data.degradation[1].q is unknown: "jpeg" takes quality'),
    (
      ({"name": "jpeg", "quality": "high"},),
      "quality='high' must be a finite number or a tuple",
    ),
    (({"name": "jpeg", "quality": (1.0, 2.0, 3.0)},), "quality=(1.0, 2.0, 3.0) must be a finite number or a tuple"),
    (({"name": "jpeg", "quality": (90.0, 10.0)},), "quality=(90.0, 10.0) must be in [1, 100]"),
    (("jpeg",), "config.data.degradation[0]='jpeg' is not a section"),
    (({"name": "pixels"}, {"name": "resize", "scale": 2}), '[0]: "pixels" must be the last'),
  ],
)
def test_a_wrong_section_is_refused(sections, message):
  with pytest.raises(ConfigError) as error:
    build_degradation(sections, True)
  assert message in str(error.value)
