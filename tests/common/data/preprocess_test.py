import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.preprocess import preprocess
from common.data.spec import Spec
from tests.tiny import AS_STORED

NOISE = ({"name": "gaussian_noise", "sigma": (0.0, 50.0)},)
SPEC = Spec((4, 4, 1), 10, 100, "images", (0.0, 1.0), "")


def batch(value: int | None = None, num: int = 64) -> dict[str, np.ndarray]:
  image = np.random.RandomState(0).randint(0, 256, (num, 4, 4, 1), np.uint8)
  if value is not None:
    image[:] = value
  return {"image": image, "label": np.arange(num, dtype=np.int32), "index": np.arange(num, dtype=np.int32)}


def run(raw, spec=SPEC, seed=0, *, train=True, **settings):
  def function(raw, rng):
    return preprocess(raw, rng, spec, SimpleNamespace(**AS_STORED | settings), train=train)

  return jax.jit(function)(raw, jax.random.key(seed))


@pytest.mark.parametrize("pixel_range", [(0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5)])
def test_pixels_are_scaled_to_the_range(pixel_range):
  spec, (low, high) = dataclasses.replace(SPEC, pixel_range=pixel_range), pixel_range
  for value in (0, 51, 255):
    raw = {**batch(value), "mask": np.ones(64, np.float32)}
    done = run(raw, spec)
    assert done["image"].dtype == jnp.float32
    np.testing.assert_allclose(done["image"], low + (high - low) * value / 255, atol=1e-6)
    assert set(done) == set(raw) and all((done[name] == raw[name]).all() for name in ("label", "index", "mask"))


def test_half_of_the_training_images_are_mirrored():
  raw = batch(num=1000)
  plain, flipped = run(raw)["image"], run(raw, flip=True)["image"]
  same = (flipped == plain).all(axis=(1, 2, 3))
  mirrored = (flipped == plain[:, :, ::-1]).all(axis=(1, 2, 3))
  assert (same | mirrored).all() and 440 < mirrored.sum() < 560
  assert (run(raw, flip=True, train=False)["image"] == plain).all()


@pytest.mark.parametrize("train", [True, False])
def test_dequantization_fills_the_bins(train):
  for value in (0, 100, 255):
    x = np.asarray(run(batch(value, num=1000), dequantize=True, train=train)["image"]) * 256
    assert value <= x.min() < x.max() < value + 1 and abs(x.mean() - value - 0.5) < 0.01


def test_dequantized_white_stays_below_one(monkeypatch):
  # The largest draw there is: 255 + (1 - 2^-23) rounds to 256 in float32.
  monkeypatch.setattr("common.random.uniform", lambda rows, shape: jnp.full((len(rows), *shape), 1 - 2.0**-23))
  assert (run(batch(255), dequantize=True)["image"] < 1).all()


def test_binarization_draws_pixels_anew_in_training_only():
  raw = batch(51, num=1000)
  x = run(raw, binarize="dynamic")["image"]
  assert set(np.unique(x)) == {0.0, 1.0} and abs(float(x.mean()) - 0.2) < 0.01
  assert (run(raw, binarize="dynamic", seed=1)["image"] != x).any()
  drawn = batch(255)
  drawn["image"][::2] = 0
  assert (run(drawn, binarize="dynamic", train=False)["image"] == drawn["image"] / 255).all()


@pytest.mark.parametrize(
  "settings",
  [
    {"flip": True, "rotate": True, "crop": 2, "dequantize": True},
    {"flip": True, "binarize": "dynamic", "degradation": NOISE, "quantise": True},
  ],
)
def test_a_row_does_not_depend_on_the_rest_of_the_batch(settings):
  raw = batch()
  whole = run(raw, **settings)
  parts = [run({name: x[rows] for name, x in raw.items()}, **settings) for rows in (slice(32), slice(32, 64))]
  for name in whole:
    assert (np.concatenate([part[name] for part in parts]) == whole[name]).all()


def test_points_pass_unchanged():
  spec = Spec((1, 1, 2), 8, 100, "points", (-1.0, 1.0), "")
  raw = {**batch(), "image": np.random.RandomState(0).randn(64, 1, 1, 2).astype(np.float32)}
  assert (run(raw, spec, flip=True)["image"] == raw["image"]).all()


def test_windows_reach_every_place_in_training_and_are_central_else():
  raw = batch(num=500)
  windows = np.asarray(run(raw, crop=2)["image"])
  places = [(y, x) for y in range(3) for x in range(3)]
  cut = np.stack([raw["image"][:, y : y + 2, x : x + 2] / np.float32(255) for y, x in places])
  found = (np.abs(cut - windows) < 1e-6).all(axis=(2, 3, 4))
  assert found.any(axis=0).all() and (found.sum(axis=1) > 500 / 9 / 2).all()
  np.testing.assert_allclose(run(raw, crop=2, train=False)["image"], cut[4], atol=1e-6)
  np.testing.assert_allclose(run(raw, crop=4)["image"], raw["image"] / np.float32(255), atol=1e-6)


def test_training_images_are_turned_by_multiples_of_90_degrees():
  raw = batch(num=400)
  x, plain = np.asarray(run(raw, rotate=True)["image"]), np.asarray(run(raw)["image"])
  same = np.stack([(np.rot90(plain, turns, axes=(1, 2)) == x).all(axis=(1, 2, 3)) for turns in range(4)])
  assert same.any(axis=0).all() and (same.sum(axis=1) > 70).all()
  assert (run(raw, rotate=True, train=False)["image"] == plain).all()


def test_what_is_seen_is_made_of_the_image_that_is_used():
  """Cropped, turned, mirrored and drawn, but without the noise of dequantization, and in the pixel range."""
  half = ({"name": "resize", "scale": 2, "method": "area"},)
  spec = dataclasses.replace(SPEC, pixel_range=(-1.0, 1.0))
  changes = {"crop": 2, "rotate": True, "flip": True, "degradation": half, "quantise": False}
  for others in ({}, {"binarize": "dynamic"}):
    done = run(batch(), spec, **changes, **others)
    np.testing.assert_allclose(done["seen"], done["image"].mean(axis=(1, 2), keepdims=True), atol=1e-6)
  noisy = run(batch(), spec, **changes, dequantize=True)
  np.testing.assert_allclose(noisy["seen"], run(batch(), spec, **changes)["seen"], atol=1e-6)
  assert "seen" not in run(batch())


def test_what_is_seen_is_rounded_to_eight_bits_unless_the_config_says_no():
  rounded, exact = (
    255 * np.asarray(run(batch(), degradation=NOISE, quantise=quantise)["seen"]) for quantise in (True, False)
  )
  assert np.abs(rounded - np.round(rounded)).max() < 1e-4 and 0 <= rounded.min() < rounded.max() < 255.001
  assert np.abs(exact - np.round(exact)).max() > 0.1 and exact.max() > 256


def test_a_test_set_is_damaged_alike_in_every_run():
  settings = {"degradation": NOISE, "quantise": True}
  seen = [np.asarray(run(batch(), seed=seed, train=False, **settings)["seen"]) for seed in (0, 1)]
  assert (seen[0] == seen[1]).all()
  trained = [np.asarray(run(batch(), seed=seed, **settings)["seen"]) for seed in (0, 1)]
  assert (trained[0] != trained[1]).any() and (trained[0] != seen[0]).any()
