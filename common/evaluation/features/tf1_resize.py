"""Bilinear resizing as TensorFlow 1 does it, which published features of InceptionV3 went through.

Output pixel i lies at i * in / out of the input, not at (i + 0.5) * in / out - 0.5 as for `jax.image.resize`, and
shrinking does not smooth. NumPy rounds after each operation, so that the bits are the same everywhere; a compiler would
fuse multiplications with additions.
"""

import numpy as np


def tf1_resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
  """Images [B, H, W, C] of any numbers -> float32 [B, height, width, C].

  The same values, in the same order of operations, as TensorFlow 1's ``resize_bilinear(align_corners=False)`` and
  torch-fidelity's port of it: first along a row, then between rows.
  """
  x = images.astype(np.float32)
  left, right, share = _neighbours(x.shape[2], width)
  x = _between(x[:, :, left], x[:, :, right], share[:, None])
  above, below, share = _neighbours(x.shape[1], height)
  return _between(x[:, above], x[:, below], share[:, None, None])


def _neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns per new pixel of an axis the old pixels before and after it, and its offset from the first, in [0, 1)."""
  place = np.arange(new_size, dtype=np.float32) * np.float32(size / new_size)
  before = place.astype(np.int64)
  return before, np.minimum(before + 1, size - 1), place - before.astype(np.float32)


def _between(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
  return first + (second - first) * share
