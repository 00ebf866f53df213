"""Vectors of floats in a file: what a model made of the images of each split."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.build import ConfigError
from common.data.source import ArraySource

NAME = "latents"
FILE = "latents.npz"


def save_latents(directory: Path, splits: Mapping[str, np.ndarray]) -> None:
  """Writes {split: float32 [N, 1, 1, Z]}, whole or not at all."""
  arrays: dict[str, Any] = {name: np.asarray(z, np.float32) for name, z in splits.items()}
  partial = directory / f".{FILE}.partial"
  with partial.open("wb") as file:
    np.savez(file, **arrays)
  os.replace(partial, directory / FILE)


def latents(directory: str) -> ArraySource:
  """The vectors that `save_latents` wrote, as points.

  Raises:
    ConfigError: there is no such file.
  """
  path = Path(directory) / FILE
  if not directory or not path.is_file():
    raise ConfigError(f'config.data.name="{NAME}": {path} is missing; python -m experiments.fit_sampler writes it')
  with np.load(path, allow_pickle=False) as archive:
    splits = {name: archive[name] for name in archive.files}

  def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    return splits[split], np.zeros(len(splits[split]), np.int32)

  return ArraySource(NAME, splits["train"].shape[1:], 0, {name: len(z) for name, z in splits.items()}, load, "points")
