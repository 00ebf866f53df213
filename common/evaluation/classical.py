"""Restored pictures without a model, by scikit-image where it is installed: what a trained network has to beat."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common.data import images
from common.data.dataset import Dataset
from common.evaluation.pictures import BATCH, Pictures, without_margin
from common.evaluation.sampling import Examples

Restore = Callable[[np.ndarray, Sequence[Mapping[str, Any]]], np.ndarray]  # [h, w, c] in [0, 1], what was done to it
BALANCE = 0.005  # of Wiener's filter: the best of 0.002 ... 0.05 on seven photographs with a blur of 1.6, noise of 2


def classically_restored(
  examples: Examples, num: int, reference: Dataset, degradation: Sequence[Mapping[str, Any]]
) -> dict[str, Pictures]:
  """Returns {method: the first ``num`` examples as it restores them}; empty where none is known or can be imported.

  Methods: non-local means for noise, a Wiener filter for a Gaussian blur, biharmonic functions for a hole.
  """
  method = METHODS.get(tuple(step["name"] for step in degradation))
  if method is None or importlib.util.find_spec("skimage") is None:
    return {}
  name, restore = method
  low, high = reference.pixel_range
  restored = []
  for start in range(0, num, BATCH):
    seen = np.asarray(examples(np.arange(start, min(start + BATCH, num)))["seen"])
    restored += [np.clip(restore((picture - low) / (high - low), degradation), 0.0, 1.0) for picture in seen]
  found = images.to_uint8(np.stack(restored), (0.0, 1.0))
  return {name: Pictures(without_margin(found, reference.image_shape), None)}


def noise_level(picture: np.ndarray) -> float:
  """Estimates the deviation of the noise in [h, w, c], from the median of second differences both ways.

  Immerkaer (1996, Eq. 3) has the mean, which edges move more.
  """
  rows = picture[2:] - 2.0 * picture[1:-1] + picture[:-2]
  both = rows[:, 2:] - 2.0 * rows[:, 1:-1] + rows[:, :-2]
  return float(np.median(np.abs(both)) / (6.0 * 0.6745))


def _non_local_means(picture: np.ndarray, _: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Buades et al. 2005, with the fast weights of Froment 2014, and patches of 5 in windows of 13 pixels."""
  from skimage.restoration import denoise_nl_means

  sigma = noise_level(picture)
  settings = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "channel_axis": -1}
  return denoise_nl_means(picture, h=0.6 * sigma, sigma=sigma, **settings)


def _wiener(picture: np.ndarray, degradation: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Wiener's filter of the known blur, each channel by itself; edges are mirrored."""
  from skimage.restoration import wiener

  low, high = np.broadcast_to(degradation[0]["sigma"], 2)
  reach = int(np.ceil(4.0 * high))
  profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (0.5 * (low + high))) ** 2)
  kernel = np.outer(profile, profile) / profile.sum() ** 2
  wide = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), "symmetric")
  channels = [wiener(wide[..., c], kernel, BALANCE, clip=False) for c in range(picture.shape[-1])]
  return np.stack(channels, axis=-1)[reach:-reach, reach:-reach]


def _biharmonic(picture: np.ndarray, _: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """Fills the hole, where the last channel is 1, with the smoothest continuation (Chui & Mhaskar 2010)."""
  from skimage.restoration import inpaint_biharmonic

  return inpaint_biharmonic(picture[..., :-1], picture[..., -1] > 0.5, channel_axis=-1)


METHODS: dict[tuple[str, ...], tuple[str, Restore]] = {  # {names of the chain: (method, restore)}
  ("gaussian_noise",): ("non-local means", _non_local_means),
  ("gaussian_blur",): ("Wiener", _wiener),
  ("gaussian_blur", "gaussian_noise"): ("Wiener", _wiener),
  **{(mask,): ("biharmonic", _biharmonic) for mask in ("box", "strokes", "pixels")},
}
