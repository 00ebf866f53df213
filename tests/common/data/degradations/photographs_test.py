"""Seven photographs, which come with scikit-image and scikit-learn, lose what is known that they lose.

The figures were computed with other implementations (MATLAB's weights and libjpeg through Pillow).
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from common import random
from common.data.degradations import build_degradation
from common.data.degradations.resize import weights

PLACES = {
  "skimage": ("data", ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")),
  "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
  pictures = []
  for package, (folder, names) in PLACES.items():
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
      pytest.skip(f"{package}, which has test photographs, is not installed")
    for name in names:
      with Image.open(Path(spec.origin).parent / folder / name) as picture:
        x = np.asarray(picture.convert("RGB")).astype(np.float64)
      pictures.append(x[: x.shape[0] // 12 * 12, : x.shape[1] // 12 * 12])
  return pictures


def psnr(x: np.ndarray, y: np.ndarray) -> float:
  return float(10 * np.log10(255**2 / np.mean((x - y) ** 2)))


@pytest.mark.parametrize(("scale", "expected"), [(2, 31.36), (3, 29.00), (4, 27.72)])
def test_bicubic_interpolation(photographs, scale, expected):
  """PSNR of Y, which MATLAB has from 16 to 235, without a border of ``scale`` pixels."""

  def resized(x: np.ndarray, height: int, width: int) -> np.ndarray:
    lines, columns = weights(x.shape[0], height, "bicubic"), weights(x.shape[1], width, "bicubic")
    return np.clip(np.floor(np.einsum("oh,hwc,pw->opc", lines, x, columns, optimize=True) + 0.5), 0, 255)

  scores = []
  for x in photographs:
    small = resized(x, x.shape[0] // scale, x.shape[1] // scale)
    both = [y @ [65.481, 128.553, 24.966] / 255 + 16 for y in (x, resized(small, *x.shape[:2]))]
    scores.append(psnr(*(y[scale:-scale, scale:-scale] for y in both)))
  assert abs(np.mean(scores) - expected) < 0.01


@pytest.mark.parametrize(
  ("sections", "expected"),
  [
    (({"name": "jpeg", "quality": 10},), 26.39),
    (({"name": "gaussian_noise", "sigma": 25.0},), 20.63),
    (({"name": "gaussian_blur", "sigma": 1.6}, {"name": "gaussian_noise", "sigma": 2.0}), 26.87),
  ],
  ids=["jpeg", "noise", "blur"],
)
def test_damage_to_a_corner(photographs, sections, expected):
  """PSNR of RGB of the upper left 288x288 pixels, in 8 bits."""
  x = np.stack([x[:288, :288] for x in photographs])
  keys = random.row_keys(jax.random.key(0), jnp.arange(len(x)))
  seen = jax.jit(build_degradation(sections, True))(x.astype(np.float32) / 255, keys)
  scores = [psnr(*pair) for pair in zip(x, np.round(np.asarray(seen) * 255), strict=True)]
  assert abs(np.mean(scores) - expected) < 0.015
