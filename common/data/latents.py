"""Vectors of floats in a file: what a model made of the images of each split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.source import ArraySource
from common.errors import ConfigError

NAME = "latents"
FILE = "latents.npz"
_WEIGHTS = "weights"  # in it beside the splits: a hash of those that the latents are of


def save_latents(directory: Path, splits: Mapping[str, np.ndarray], weights: str) -> None:
  """Writes {split: float32 [N, 1, 1, Z]}, whole or not at all, and the hash of the weights that made them."""
  arrays: dict[str, Any] = {name: np.asarray(z, np.float32) for name, z in splits.items()}
  arrays[_WEIGHTS] = np.array(weights)
  with files.replacing(directory / FILE) as file:
    np.savez(file, **arrays)


def check_weights(directory: Path, weights: str) -> None:
  """Raises ConfigError where the latents in ``directory``, if any, are of other weights."""
  if not (directory / FILE).exists():
    return
  with np.load(directory / FILE, allow_pickle=False) as archive:
    known = str(archive[_WEIGHTS]) if _WEIGHTS in archive.files else weights  # older versions kept none
  if known != weights:
    raise ConfigError(f"{directory} was fitted to other weights than its run has now; remove it, and fit anew")


def latents(directory: str) -> ArraySource:
  """The vectors that `save_latents` wrote, as points.

  Raises:
    ConfigError: there is no such file.
  """
  path = Path(directory) / FILE
  if not directory or not path.is_file():
    raise ConfigError(f'config.data.name="{NAME}": {path} is missing; python -m experiments.fit_sampler writes it')
  with np.load(path, allow_pickle=False) as archive:
    splits = {name: archive[name] for name in archive.files if name != _WEIGHTS}

  def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    return splits[split], np.zeros(len(splits[split]), np.int32)

  return ArraySource(NAME, splits["train"].shape[1:], 0, {name: len(z) for name, z in splits.items()}, load, "points")
