import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.preprocess import preprocess
from common.data.spec import Spec

SPEC = Spec((4, 4, 1), 10, 100, "images", (0.0, 1.0), "")
OFF = {"flip": False, "dequantize": False, "binarize": "none"}


def batch(value: int | None = None, num: int = 64) -> dict[str, np.ndarray]:
  image = np.random.RandomState(0).randint(0, 256, (num, 4, 4, 1), np.uint8)
  if value is not None:
    image[:] = value
  return {"image": image, "label": np.arange(num, dtype=np.int32), "index": np.arange(num, dtype=np.int32)}


def run(raw, spec=SPEC, seed=0, *, train=True, **settings):
  def function(raw, rng):
    return preprocess(raw, rng, spec, SimpleNamespace(**OFF | settings), train=train)

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


@pytest.mark.parametrize("settings", [{"flip": True, "dequantize": True}, {"flip": True, "binarize": "dynamic"}])
def test_a_row_does_not_depend_on_the_rest_of_the_batch(settings):
  raw = batch()
  whole = run(raw, **settings)["image"]
  parts = [run({name: x[rows] for name, x in raw.items()}, **settings)["image"] for rows in (slice(32), slice(32, 64))]
  assert (np.concatenate(parts) == whole).all()


def test_points_pass_unchanged():
  spec = Spec((1, 1, 2), 8, 100, "points", (-1.0, 1.0), "")
  raw = {**batch(), "image": np.random.RandomState(0).randn(64, 1, 1, 2).astype(np.float32)}
  assert (run(raw, spec, flip=True)["image"] == raw["image"]).all()
