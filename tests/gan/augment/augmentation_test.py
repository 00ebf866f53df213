"""Augmentations as D meets them: rows, ranges, gradients, the schedule of p, and wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import random
from common.build import build
from common.errors import ConfigError
from gan.augment import geometry
from gan.augment.augmentation import AUGMENTATIONS, color, cutout, hide, translation
from gan.augment.color import colored, recolor

RNG = np.random.default_rng(0)
SECTIONS = {
  "none": {"name": "none"},
  "diffaugment": {"name": "diffaugment"},
  "scheduled": {"name": "scheduled", "p": 0.7},
}


def made(section):
  return build(AUGMENTATIONS, section, "augment", pixel_range=(0.0, 1.0))


def keys_of(index):
  return random.row_keys(random.stream(jax.random.key(0), "augment"), jnp.asarray(index))


def images(count, channels=3, size=8):
  return jnp.asarray(RNG.uniform(size=(count, size, size, channels)), jnp.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_adas_pipeline_leaves_images_to_the_bit_at_0_and_changes_each_at_1(channels):
  p = {"name": "linear", "start": 0.0, "end": 1.0, "steps": 4}
  apply, x = jax.jit(made({"name": "scheduled", "p": p}).apply), images(16, channels)
  np.testing.assert_array_equal(apply(x, keys_of(range(16)), jnp.int32(0)), x)
  changed = apply(x, keys_of(range(16)), jnp.int32(4))
  assert np.all(np.any(changed != x, axis=(1, 2, 3))) and np.all(np.isfinite(changed))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_row_depends_on_its_key_alone_and_its_gradient_comes_back(name):
  augmentation, x = made(SECTIONS[name]), images(16)
  apply = jax.jit(augmentation.apply)
  whole = apply(x, keys_of(range(16)), jnp.int32(0))
  order = np.array([11, 2, 5, 7])
  np.testing.assert_allclose(apply(x[order], keys_of(order), jnp.int32(0)), whole[order], atol=1e-6)
  assert name == "none" or np.any(whole != x)

  def total(x):
    return jnp.sum(augmentation.apply(x, keys_of(range(16)), jnp.int32(0)) * 2.0)

  both = jax.jit(jax.value_and_grad(total))
  gradient = both(x)[1]
  # T is affine in the image, so that a difference is the gradient's to rounding, however long.
  step = jnp.asarray(RNG.normal(size=x.shape), jnp.float32)
  np.testing.assert_allclose(both(x + step)[0] - both(x)[0], jnp.sum(gradient * step), rtol=2e-3, atol=2e-2)
  assert np.all(np.any(gradient != 0, axis=(1, 2, 3)))


def test_diffaugments_colours_are_numpys_in_the_papers_ranges():
  """For images in [-1, 1] brightness is U[-1/2, 1/2), in [0, 1] half of that."""
  x, keys = 2 * images(500) - 1, keys_of(range(500))
  draw = np.moveaxis(np.asarray(random.uniform(keys, (3, 1, 1, 1))), 1, 0)
  y = np.asarray(x, np.float64) + draw[0] - 0.5
  grey = y.mean(axis=3, keepdims=True)
  y = (y - grey) * 2 * draw[1] + grey
  mean = y.mean(axis=(1, 2, 3), keepdims=True)
  y = (y - mean) * (draw[2] + 0.5) + mean
  np.testing.assert_allclose(color(x, keys, (-1.0, 1.0)), y, atol=1e-5)
  np.testing.assert_allclose(2 * color((x + 1) / 2, keys, (0.0, 1.0)) - 1, y, atol=1e-5)


def test_diffaugment_moves_by_an_eighth_and_hides_half_of_each_side():
  """8x12: by up to 1 and 2 pixels (1.5 rounds up), each as likely; 4 x 6 are hidden, less at the border."""
  count = 3000
  x = jnp.ones((count, 8, 12, 1))
  moved = np.asarray(translation(x, keys_of(range(count)), (-1.0, 1.0)))[..., 0]
  assert set(np.unique(moved)) == {0.0, 1.0}  # what comes in is the middle of the range
  empty = np.stack([(moved.max(axis=2) == 0).sum(axis=1), (moved.max(axis=1) == 0).sum(axis=1)])
  np.testing.assert_allclose(np.mean(empty[0] == 0), 1 / 3, atol=0.04)
  np.testing.assert_allclose([np.mean(empty[1] == n) for n in (0, 1, 2)], [0.2, 0.4, 0.4], atol=0.04)
  cut = np.asarray(cutout(x, keys_of(range(count)), (0.0, 1.0)))[..., 0]
  assert set(np.unique(cut)) == {0.5, 1.0}
  hidden = cut == 0.5
  heights, widths = hidden.any(axis=2).sum(axis=1), hidden.any(axis=1).sum(axis=1)
  np.testing.assert_array_equal(hidden.sum(axis=(1, 2)), heights * widths)
  # The first line is one of -2 .. 6, each as likely.
  np.testing.assert_allclose([np.mean(heights == n) for n in (2, 3, 4)], [2 / 9, 2 / 9, 5 / 9], atol=0.04)
  assert (widths.min(), widths.max()) == (3, 6)
  seven = np.asarray(cutout(jnp.ones((count, 6, 6, 1)), keys_of(range(count)), (-1.0, 1.0)))[..., 0] == 0
  assert set(seven.any(axis=2).sum(axis=1)) == {2, 3}  # an odd cut: its centre is a pixel of the image


def test_the_hidden_square_of_ada_has_a_uniform_centre():
  hidden = np.asarray(hide(jnp.ones((4000, 8, 8, 1)), keys_of(range(4000)), jnp.float32(0.5), (-1.0, 1.0)))[..., 0] == 0
  assert np.mean(hidden.any(axis=(1, 2))) == pytest.approx(0.5, abs=0.03)
  assert hidden.any(axis=2).sum(axis=1).max() == 4
  lines = hidden[hidden.any(axis=(1, 2))].any(axis=2).mean(axis=0)
  place = (np.arange(8) + 0.5) / 8
  expected = np.minimum(place + 0.25, 1) - np.maximum(place - 0.25, 0)
  np.testing.assert_allclose(lines, expected, atol=0.05)


def test_a_scheduled_p_follows_the_schedule():
  augmentation = made({"name": "scheduled", "p": {"name": "cosine", "start": 0.0, "end": 0.55, "steps": 10}})
  p = [float(augmentation.p(jnp.int32(k))) for k in (0, 5, 10, 99)]
  np.testing.assert_allclose(p, [0.0, 0.275, 0.55, 0.55], atol=1e-6)
  x, keys, p = images(8), keys_of(range(8)), jnp.float32(0.275)

  @jax.jit
  def by_hand(x):  # colours change with half the probability, as R3GAN's code has it
    blit, general, color, cutout = (random.row_stream(keys, n) for n in ("blit", "geometric", "color", "cutout"))
    x = geometry.warp(x, geometry.in_order(geometry.blit(blit, p, 8, 8), geometry.general(general, p, 8, 8)))
    return hide(recolor(x, *colored(color, p / 2, 3), (0.0, 1.0)), cutout, p, (0.0, 1.0))

  np.testing.assert_allclose(jax.jit(augmentation.apply)(x, keys, jnp.int32(5)), by_hand(x), atol=1e-5)


def test_each_policy_draws_from_a_stream_of_its_own():
  x, keys = images(8), keys_of(range(8))
  expected = x
  for name, policy in (("cutout", cutout), ("color", color)):
    expected = policy(expected, random.row_stream(keys, name), (0.0, 1.0))
  section = {"name": "diffaugment", "policy": ("cutout", "color")}
  np.testing.assert_allclose(made(section).apply(x, keys, jnp.int32(0)), expected, atol=1e-6)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    (
      {"name": "diffaugment", "policy": ("colour",)},
      r"policy=\('colour',\) must be some of color, translation, cutout",
    ),
    ({"name": "diffaugment", "policy": ("color", "color")}, r"each once"),
    ({"name": "diffaugment", "policy": ()}, r"must be some of"),
    ({"name": "scheduled", "p": -0.5}, r"config\.augment: p=-0\.5 must be in \[0, 1\]"),
  ],
)
def test_wrong_settings_are_named(section, message):
  with pytest.raises(ConfigError, match=message):
    made(section)
