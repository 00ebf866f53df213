"""Content terms against their equations, and what they pass on to G."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.build import build_each
from common.data.degradations.filters import sharpened
from common.errors import ConfigError
from common.evaluation.features.extractor import Context, Extractor, open_extractor
from gan.content import CONTENT, Compared, Perceptual
from gan.networks.interface import DiscriminatorOutput

DRAW = np.random.default_rng(0)
FAKE, REAL = (jnp.asarray(DRAW.uniform(-1.0, 1.0, (3, 8, 8, 1)), jnp.float32) for _ in range(2))
LAYERS = [tuple(jnp.asarray(DRAW.normal(size=(3, n, n, 2)), jnp.float32) for n in (4, 2)) for _ in range(2)]
ON_FAKE, ON_REAL = (DiscriminatorOutput(jnp.zeros(3), jnp.mean(x[1], axis=(1, 2)), layers=x) for x in LAYERS)
COMPARED = Compared(FAKE, REAL, ON_FAKE, ON_REAL)


def term(name, **arguments):
  context = {"pixel_range": (-1.0, 1.0), "image_shape": (8, 8, 1), "dataset": "digits"}
  return build_each(CONTENT, {name: {"weight": 1.0, **arguments}}, "content", **context)[name]


def rows(x):
  return np.asarray(x, np.float64).reshape(3, -1)


@pytest.mark.parametrize(
  ("name", "arguments", "value"),
  [
    ("l1", {}, np.abs),
    ("l2", {}, np.square),
    ("charbonnier", {"epsilon": 0.5}, lambda e: np.sqrt(e**2 + 0.25)),
  ],
)
def test_a_term_of_pixels_is_the_mean_over_the_values_of_each_image(name, arguments, value):
  expected = value(rows(FAKE) - rows(REAL)).mean(axis=1)
  np.testing.assert_allclose(term(name, **arguments)(COMPARED), expected, rtol=1e-5)


def test_a_sharpened_target_is_that_term_s_alone():
  """In grey values of 0 to 1, whatever the pixel range; other terms and D see the image as it is."""
  target = 2.0 * sharpened((REAL + 1.0) / 2.0) - 1.0
  assert np.abs(target - REAL).max() > 0.05
  expected = np.abs(rows(FAKE) - rows(target)).mean(axis=1)
  np.testing.assert_allclose(term("l1", sharpen=True)(COMPARED), expected, rtol=1e-5)


def test_features_of_d_are_compared_layer_by_layer_and_those_of_real_images_are_constants():
  each = [np.abs(rows(a) - rows(b)).mean(axis=1) for a, b in zip(*LAYERS, strict=True)]
  np.testing.assert_allclose(term("features")(COMPARED), np.mean(each, axis=0), rtol=1e-5)
  bare = Compared(FAKE, REAL, *(output.replace(layers=()) for output in (ON_FAKE, ON_REAL)))
  last = np.abs(rows(ON_FAKE.features) - rows(ON_REAL.features)).mean(axis=1)
  np.testing.assert_allclose(term("features")(bare), last, rtol=1e-5)
  slope = jax.grad(lambda real: jnp.sum(term("features")(COMPARED._replace(on_real=real))))(ON_REAL)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(slope))


def test_a_perceptual_term_compares_what_an_extractor_makes_of_grey_levels():
  extractor = open_extractor("random:3", Context((8, 8, 1), "images", "digits"))
  a, b = (extractor.apply(extractor.variables, 127.5 * (x + 1.0))[0] for x in (FAKE, REAL))
  perceptual = term("perceptual", features="random:3")
  np.testing.assert_allclose(perceptual(COMPARED), np.abs(a - b).mean(axis=1), rtol=1e-4)
  slope = jax.grad(lambda fake: jnp.sum(perceptual(COMPARED._replace(fake=fake))))(FAKE)
  assert np.all(np.any(slope != 0, axis=(1, 2, 3)))


@pytest.mark.parametrize(
  ("name", "arguments", "message"),
  [
    ("l1", {"weight": 0.0}, r"config\.content\.l1: weight=0\.0 must be above 0; leave the term out"),
    ("l3", {}, r'config\.content="l3" is not one of charbonnier'),
    ("perceptual", {}, r"config\.content\.perceptual lacks features"),
  ],
)
def test_a_wrong_term_is_refused(name, arguments, message):
  with pytest.raises(ConfigError, match=message):
    term(name, **arguments)


def test_an_extractor_is_opened_by_the_first_use_and_must_have_a_gradient():
  unknown = term("perceptual", features="rondom")
  with pytest.raises(ConfigError, match=r'config\.content\.perceptual\.features: .*"rondom" is not one of.*"random"'):
    unknown(COMPARED)
  outside = Extractor("a", {}, lambda variables, x: (x, None), prepare=lambda x: x)
  perceptual = Perceptual(weight=1.0, pixel_range=(0.0, 1.0), features="a:b", image_shape=(8, 8, 1), dataset="digits")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("common.evaluation.features.extractor.open_extractor", lambda *_: outside)
    with pytest.raises(ConfigError, match="outside of the compiled step, and has no gradient"):
      perceptual(COMPARED)
