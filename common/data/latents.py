"""Latents of the images of each split, stored in a file with their units and opened as a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.source import ArraySource
from common.errors import ConfigError

NAME = "latents"
FILE = "latents.npz"
SMALLEST = 1e-6  # scale of a latent that does not vary
_BESIDE = ("weights", "shift", "scale")  # entries beside the splits


def save_latents(directory: Path, splits: Mapping[str, np.ndarray], weights: str, *, standardise: bool) -> None:
  """Atomically writes the latents of each split.

  Args:
    directory: where `FILE` is written.
    splits: {split: float32 [N, 1, 1, Z]}.
    weights: the hash of the weights that computed them.
    standardise: whether each latent is written in units of mean 0 and deviation 1 over the training split, as
      (z - shift) / scale. Numbers of codes have no units.
  """
  train, size = splits["train"], splits["train"].shape[-1]
  flat = train.reshape(-1, size)
  shift = flat.mean(axis=0) if standardise else np.zeros(size, np.float32)
  scale = np.maximum(flat.std(axis=0), SMALLEST) if standardise else np.ones(size, np.float32)
  arrays: dict[str, Any] = {name: np.asarray((z - shift) / scale, np.float32) for name, z in splits.items()}
  arrays |= {"weights": np.array(weights), "shift": np.float32(shift), "scale": np.float32(scale)}
  with files.replacing(directory / FILE) as file:
    np.savez(file, **arrays)


def check_weights(directory: Path, weights: str) -> None:
  """Raises ConfigError where the latents in ``directory`` are missing, or were computed by other weights."""
  if not (directory / FILE).is_file():
    raise ConfigError(
      f"{directory / FILE} is missing, and it stores the units of the fit; remove {directory}, and fit anew"
    )
  with np.load(directory / FILE, allow_pickle=False) as archive:
    computed_by = str(archive["weights"])
  if computed_by != weights:
    raise ConfigError(f"{directory} was fitted to other weights than its run has now; remove it, and fit anew")


def units(directory: Path) -> tuple[np.ndarray, np.ndarray]:
  """Shift and scale of the latents in ``directory``, float32 [Z] each; z = shift + scale * the stored values."""
  with np.load(directory / FILE, allow_pickle=False) as archive:
    return archive["shift"], archive["scale"]


def latents(directory: str) -> ArraySource:
  """Opens the vectors that `save_latents` wrote, as points.

  Raises:
    ConfigError: the file is missing.
  """
  path = Path(directory) / FILE
  if not directory or not path.is_file():
    raise ConfigError(f'config.data.name="{NAME}": {path} is missing; python -m experiments.fit_sampler writes it')
  with np.load(path, allow_pickle=False) as archive:
    splits = {name: archive[name] for name in archive.files if name not in _BESIDE}

  def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    return splits[split], np.zeros(len(splits[split]), np.int32)

  return ArraySource(NAME, splits["train"].shape[1:], 0, {name: len(z) for name, z in splits.items()}, load, "points")
