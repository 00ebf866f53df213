"""The data set that is shipped with the code: 1,797 hand-written digits of 8 x 8 pixels (DIGITS_LICENSE.md)."""

import functools
import pathlib

import numpy as np

from common.data import stream
from common.data.source import ArraySource, Rows

# The order is permutation(1797, 0); its first 1,400 are the train split, the next 97 validation, the last 300 test. The
# file's own order is unsuitable: neighbouring digits have the same writer.
SIZES = {"train": 1400, "validation": 97, "test": 300}


def digits() -> ArraySource:
  """Returns the digits, grey uint8 [8, 8, 1], 10 classes."""
  return ArraySource("digits", (8, 8, 1), 10, SIZES, _load)


@functools.cache
def _load(split: str) -> Rows:
  with np.load(pathlib.Path(__file__).with_name("digits.npz"), allow_pickle=False) as archive:
    images, labels = archive["images"], archive["labels"]
  first = {"train": 0, "validation": 1400, "test": 1497}[split]
  chosen = stream.permutation(len(labels), 0)[first : first + SIZES[split]]
  # The stored values are counts of 0..16 ink pixels.
  pixels = np.rint(images[chosen, ..., None] * (255 / 16)).astype(np.uint8)
  return {"image": pixels, "label": labels[chosen].astype(np.int32)}
