"""Preprocesses stored bytes inside the compiled step; randomness of row i depends on (rng, index[i]) only."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from common import random
from common.data.spec import Spec
from common.types import Array, Batch


def preprocess(raw: Mapping[str, Array], rng: Array, spec: Spec, data: Any, *, train: bool) -> Batch:
  """Flips, dequantizes or binarizes, and scales the images of a batch; other entries are unchanged.

  Args:
    raw: "image" uint8 [B, H, W, C] (points: float32 [B, 1, 1, 2], which are unchanged), "label" [B], "index" [B], the
      row in the global batch, and possibly others ("mask").
    rng: the key of the step.
    spec: its pixel_range is the range of the result, float32.
    data: config.data. flip: mirrors each training image with probability 1/2. dequantize: (x + U[0, 1)) / 256 instead
      of x / 255, also in evaluation (Theis et al. 2016). binarize="dynamic": a training pixel is 1 with probability
      x / 255, sampled at each use (Burda et al. 2016); evaluation sets are already 0 or 255 (dataset.py).
    train: whether the batch is for training.
  """
  if spec.kind == "points":
    return dict(raw)
  x = raw["image"].astype(jnp.float32)

  def rows(name: str) -> Array:
    return random.row_keys(random.stream(rng, name), raw["index"])

  if data.flip and train:
    mirrored = random.uniform(rows("flip"), (1, 1, 1)) < 0.5
    x = jnp.where(mirrored, x[:, :, ::-1], x)
  if data.dequantize:
    # Close to 256 the sum can round up to 256, which has density 0 under a model of [0, 1).
    noisy = x + random.uniform(rows("dequantize"), spec.image_shape)
    x = jnp.minimum(noisy, np.nextafter(np.float32(256), np.float32(0))) / 256
  else:
    x = x / 255
  if data.binarize == "dynamic" and train:
    x = random.bernoulli(rows("binarize"), x)
  low, high = spec.pixel_range
  return {**raw, "image": low + (high - low) * x}
