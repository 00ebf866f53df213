"""What both sides of a case must share: the data, the numbers of the config, and that they compute the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.data.dataset import open_dataset
from common.errors import ConfigError
from experiments import build_algorithm
from experiments.benchmark.cases import PROCEDURAL, all_overrides, resolve
from experiments.benchmark.settings import settings_of


class Preparation:
  """Of case ``name`` under ``changes``; without the real data set, images of the same shape made by code."""

  def __init__(self, name: str, tiny: bool, changes: Mapping[str, Any]):
    self._name, self._tiny, self._changes = name, tiny, dict(changes)
    self._config = resolve(name, tiny=tiny, **self._changes)
    try:
      self._dataset = open_dataset(self._config.data)
    except ConfigError:
      self._changes |= {path.replace(".", "__"): value for path, value in PROCEDURAL.items()}
      self._config = resolve(name, tiny=tiny, **self._changes)
      self._dataset = open_dataset(self._config.data)

  def prepare(self, images: str) -> dict[str, Any]:
    """Writes the training images, uint8 [N, H, W, C], to the .npy file ``images``.

    Returns:
      "settings" for the torch side, "changes" for the JAX side, and "overrides" of the case's config in all.
    """
    np.save(images, self._dataset.train.arrays()["image"])
    algorithm = build_algorithm(self._config, self._dataset.spec)
    overrides = all_overrides(self._name, tiny=self._tiny, **self._changes)
    return {"settings": settings_of(self._config, algorithm), "changes": self._changes, "overrides": overrides}

  def compare(self) -> dict[str, float]:
    """The differences of `equality.compare`."""
    from experiments.benchmark.equality import compare

    return compare(self._name, tiny=self._tiny, **self._changes)
