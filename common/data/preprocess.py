"""Preprocesses stored bytes inside the compiled step; randomness of row i depends on (rng, index[i]) only."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common import random
from common.data.degradations import build_degradation
from common.data.spec import Spec
from common.types import Array, Batch, Images


def preprocess(raw: Mapping[str, Array], rng: Array, spec: Spec, data: Any, *, train: bool) -> Batch:
  """Crops, turns, flips, dequantizes or binarizes, and scales the images of a batch; makes what is seen of them.

  Args:
    raw: "image" uint8 [B, H, W, C] (points: float32 [B, 1, 1, 2], which are unchanged), "label" [B], "index" [B], the
      row in the global batch, and possibly others ("mask").
    rng: the key of the step.
    spec: its pixel_range is the range of the result, float32.
    data: config.data. crop: cuts a window, at random in training. rotate: turns each training image by a multiple of
      90 degrees. flip: mirrors each training image with probability 1/2. dequantize: (x + U[0, 1)) / 256 instead
      of x / 255, also in evaluation (Theis et al. 2016). binarize="dynamic": a training pixel is 1 with probability
      x / 255, sampled at each use (Burda et al. 2016); evaluation sets are already 0 or 255 (dataset.py).
      degradation: makes "seen" of the image as it is then, without dequantize's noise, and in pixel_range too.
    train: whether the batch is for training.
  """
  if spec.kind == "points":
    return dict(raw)
  x = raw["image"].astype(jnp.float32)

  def rows(name: str) -> Array:
    return random.row_keys(random.stream(rng, name), raw["index"])

  if data.crop:
    x = _cropped(x, data.crop, random.uniform(rows("crop"), (2,)) if train else None)
  if data.rotate and train:
    x = _turned(x, random.integers(rows("rotate"), 0, 4))
  if data.flip and train:
    mirrored = random.uniform(rows("flip"), (1, 1, 1)) < 0.5
    x = jnp.where(mirrored, x[:, :, ::-1], x)
  clean = x / 255
  if data.binarize == "dynamic" and train:
    clean = random.bernoulli(rows("binarize"), clean)
  done = {**raw, "image": clean}
  if data.dequantize:
    # Close to 256 the sum can round up to 256, which has density 0 under a model of [0, 1).
    noisy = x + random.uniform(rows("dequantize"), x.shape[1:])
    done["image"] = jnp.minimum(noisy, np.nextafter(np.float32(256), np.float32(0))) / 256
  if data.degradation:
    # A test set is damaged in the same way in every run, whatever its seed.
    keys = rows("degradation") if train else random.row_keys(jax.random.key(0), raw["index"])
    done["seen"] = build_degradation(data.degradation, data.quantise)(clean, keys)
  low, high = spec.pixel_range
  return {**done, **{name: low + (high - low) * done[name] for name in ("image", "seen") if name in done}}


def _cropped(x: Images, side: int, u: Array | None) -> Images:
  """Cuts a window out of each image, at a place that u, [B, 2] in [0, 1), chooses, or at the centre."""
  spare = np.array(x.shape[1:3]) - side
  if u is None:
    top, left = spare // 2
    return x[:, top : top + side, left : left + side]
  first = jnp.floor(u * (spare + 1)).astype(jnp.int32)
  return jax.vmap(lambda image, at: lax.dynamic_slice(image, (at[0], at[1], 0), (side, side, x.shape[3])))(x, first)


def _turned(x: Images, turns: Array) -> Images:
  """Turns each square image by its number of quarter turns, [B] in 0 .. 3."""
  turns = turns[:, None, None, None]
  x = jnp.where(turns % 2 == 1, jnp.rot90(x, axes=(1, 2)), x)
  return jnp.where(turns >= 2, x[:, ::-1, ::-1], x)
