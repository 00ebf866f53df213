"""Generated data: a mixture of Gaussians in the plane, to count modes, and coloured blobs of any size.

Every number comes from raw Philox words, so a set is the same on every machine and in every NumPy version,
except for the last bit of exp, log and cos.
"""

import dataclasses
import functools
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from common.data.source import ArraySource, Rows

POINTS = {"train": 65536, "validation": 8192, "test": 8192}
BLOBS = {"train": 4096, "validation": 512, "test": 1024}


def gaussian_modes() -> tuple[np.ndarray, float]:
  """Returns the centres [8, 2] and the standard deviation of the components of ``gaussians8``.

  They form a circle of radius 2, sd 0.02 (Metz et al. 2017, Unrolled GANs, App. A). A sample within 3 sd of a centre
  counts as of high quality (VEEGAN), and a mode with such a sample as covered.
  """
  angles = np.arange(8) * (2 * np.pi / 8)
  return 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=-1), 0.02


def gaussians() -> ArraySource:
  """Returns points float32 [1, 1, 2] from the mixture with equal weights; the label is the component."""
  return ArraySource("gaussians8", (1, 1, 2), 8, POINTS, _points, "points")


@functools.cache
def _points(split: str) -> Rows:
  centers, deviation = gaussian_modes()
  draws = _uniform("gaussians8", split, POINTS[split], 3)
  labels = (draws[:, 0] * len(centers)).astype(np.int32)
  # Box and Muller (1958): two uniform numbers give two independent normal ones.
  radius, angle = np.sqrt(-2.0 * np.log(draws[:, 1])), 2.0 * np.pi * draws[:, 2]
  noise = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
  return {"image": (centers[labels] + deviation * noise).astype(np.float32)[:, None, None, :], "label": labels}


@dataclasses.dataclass(frozen=True)
class Blobs:
  """Two smooth blobs on black, uint8 of ``native_shape``; a Source that renders only the examples that are read.

  The class (or chance, without classes) sets the large blob's angle around the centre and its hue; jitter and a small
  second blob vary the examples of a class.
  """

  name: str
  native_shape: tuple[int, int, int]
  num_classes: int = 10
  kind: str = "images"
  in_memory: bool = False
  sizes: Mapping[str, int] = dataclasses.field(default_factory=lambda: BLOBS)
  notes: Sequence[str] = ()
  class_names: Sequence[str] = ()

  def read(self, split: str, indices: np.ndarray) -> Rows:
    # Always draws 11 numbers for each example of the split, so that no example depends on which others are read.
    draws = _uniform("blobs", split, BLOBS[split], 11)[indices]
    labels = self.labels(split)[indices]
    turn = labels / self.num_classes if self.num_classes else draws[:, 0]
    angle = 2 * np.pi * turn
    hue = 0.5 + 0.5 * np.cos(2 * np.pi * (turn[:, None] + np.arange(3) / 3))
    large = self._bump(
      x=0.5 + 0.22 * np.cos(angle) + 0.1 * (draws[:, 1] - 0.5),
      y=0.5 + 0.22 * np.sin(angle) + 0.1 * (draws[:, 2] - 0.5),
      width=0.1 + 0.08 * draws[:, 3],
      color=(0.6 + 0.4 * draws[:, 4, None]) * (hue if self.native_shape[2] == 3 else np.ones_like(hue)),
    )
    stray = self._bump(x=draws[:, 5], y=draws[:, 6], width=0.03 + 0.05 * draws[:, 7], color=0.7 * draws[:, 8:11])
    return {"image": np.rint(255 * np.minimum(large + stray, 1.0)).astype(np.uint8), "label": labels}

  def labels(self, split: str) -> np.ndarray:
    return (_uniform("blobs", split, BLOBS[split], 11)[:, 0] * self.num_classes).astype(np.int32)

  def captions(self, split: str) -> None:
    return None

  def _bump(self, x: np.ndarray, y: np.ndarray, width: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Renders Gaussian bumps [N, H, W, C] at (x, y) with standard deviation ``width``, in units of the image's side."""
    *sides, channels = self.native_shape
    grids = ((np.arange(side) + 0.5) / side for side in sides)
    rows, columns = (
      np.exp(-0.5 * ((grid - middle[:, None]) / width[:, None]) ** 2).astype(np.float32)
      for grid, middle in zip(grids, (y, x), strict=True)
    )
    return rows[:, :, None, None] * (columns[:, :, None] * color[:, None, :channels].astype(np.float32))[:, None]


@functools.cache
def _uniform(name: str, split: str, num: int, width: int) -> np.ndarray:
  """Samples U(0, 1), [num, width]; never 0, so that logarithms are finite."""
  words = np.random.Philox(key=[zlib.crc32(f"{name}/{split}".encode()), 0]).random_raw(num * width)
  return ((words >> np.uint64(12)) + 0.5).reshape(num, width) * 2.0**-52
