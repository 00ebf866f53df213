"""Latents of the images of each split, stored in a file and opened as a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.source import ArraySource
from common.errors import ConfigError

NAME = "latents"
FILE = "latents.npz"
_WEIGHTS = "weights"  # entry beside the splits: a hash of the weights that computed the latents


def save_latents(directory: Path, splits: Mapping[str, np.ndarray], weights: str) -> None:
  """Atomically writes {split: float32 [N, 1, 1, Z]} and the hash of the weights that computed them."""
  arrays: dict[str, Any] = {name: np.asarray(z, np.float32) for name, z in splits.items()}
  arrays[_WEIGHTS] = np.array(weights)
  with files.replacing(directory / FILE) as file:
    np.savez(file, **arrays)


def check_weights(directory: Path, weights: str) -> None:
  """Raises ConfigError if ``directory`` has latents that other weights computed."""
  if not (directory / FILE).exists():
    return
  with np.load(directory / FILE, allow_pickle=False) as archive:
    known = str(archive[_WEIGHTS]) if _WEIGHTS in archive.files else weights  # older versions stored no hash
  if known != weights:
    raise ConfigError(f"{directory} was fitted to other weights than its run has now; remove it, and fit anew")


def latents(directory: str) -> ArraySource:
  """Opens the vectors that `save_latents` wrote, as points.

  Raises:
    ConfigError: the file is missing.
  """
  path = Path(directory) / FILE
  if not directory or not path.is_file():
    raise ConfigError(f'config.data.name="{NAME}": {path} is missing; python -m experiments.fit_sampler writes it')
  with np.load(path, allow_pickle=False) as archive:
    splits = {name: archive[name] for name in archive.files if name != _WEIGHTS}

  def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    return splits[split], np.zeros(len(splits[split]), np.int32)

  return ArraySource(NAME, splits["train"].shape[1:], 0, {name: len(z) for name, z in splits.items()}, load, "points")
