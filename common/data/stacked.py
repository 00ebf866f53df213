"""Stacks three grey images of another set as colour channels: 10 classes become 1,000 modes (Metz et al. 2017).

"Stacked MNIST" is a test of mode collapse; its label is 100 a + 10 b + c of the channels' labels.
"""

import functools
import zlib
from typing import Any

import numpy as np

from common.data.source import ArraySource, Rows, Source
from common.errors import ConfigError

PREFIX = "stacked_"
SIZES = {"train": 128000, "validation": 10000, "test": 26000}  # training and test set as in Lin et al. 2018 (PacGAN)


def stacked(name: str, base: Source) -> ArraySource:
  """Stacks the grey images of ``base``; the choice of the three depends on the split and the image's index only.

  Training and validation images come from the train split of ``base``, test images from its test split.

  Raises:
    ConfigError: ``base`` lacks labels, or its images are not grey, of one size and in memory.
  """
  height, width, channels = base.native_shape
  if channels != 1 or height is None or width is None or not base.num_classes or not base.in_memory:
    raise ConfigError(f'config.data.name="{name}": only sets of grey images with labels can be stacked')

  @functools.cache
  def load(split: str) -> Rows:
    source = "test" if split == "test" else "train"
    chosen = _draws(split, base.sizes[source])
    rows = base.read(source, np.arange(base.sizes[source]))
    planes = np.asarray(rows["image"])[..., 0]
    stacks = np.stack([planes[chosen[:, channel]] for channel in range(3)], axis=-1)
    digits = rows["label"][chosen].astype(np.int32)
    return {"image": stacks, "label": digits @ np.array([base.num_classes**2, base.num_classes, 1], np.int32)}

  return ArraySource(name, (height, width, 3), base.num_classes**3, SIZES, load, notes=base.notes)


def _draws(split: str, size: int) -> np.ndarray:
  """Draws three indices below ``size`` for each image of the split, [N, 3]."""
  words: Any = np.random.Philox(key=[zlib.crc32(f"stacked/{split}".encode()), 0]).random_raw(3 * SIZES[split])
  return (words % np.uint64(size)).astype(np.int64).reshape(-1, 3)
