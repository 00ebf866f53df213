"""Checks of settings and features that several metrics share."""

import numpy as np

from common.evaluation.metrics.score import SampleSet

MODES = ("exact", "torch_fidelity")


def check_mode(mode: str) -> None:
  """Raises ValueError unless mode is "exact" or "torch_fidelity"."""
  if mode not in MODES:
    raise ValueError(f'mode="{mode}" is not one of {", ".join(MODES)}')


def check_features(features: np.ndarray, name: str) -> np.ndarray:
  """Returns features [N, D] as floats.

  Raises:
    ValueError: another shape, or values that are not finite.
  """
  features = np.asarray(features)
  if features.ndim != 2 or not features.size:
    raise ValueError(f"{name} of shape {features.shape} are not [N, D]")
  if features.dtype.kind != "f":
    features = features.astype(np.float64)
  if not np.all(np.isfinite(features)):
    bad = np.sum(~np.isfinite(features).all(axis=1))
    raise ValueError(f"{bad} of {len(features)} {name} are not finite; look at the images and the network for NaN")
  return features


def check_pair(real: SampleSet, fake: SampleSet, least: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the features of both sets, [N, D] and [M, D].

  Raises:
    ValueError: features that are not finite, of different widths, or fewer than ``least``.
  """
  ours, theirs = check_features(real.features, "real features"), check_features(fake.features, "generated features")
  if ours.shape[1] != theirs.shape[1]:
    raise ValueError(f"features of {ours.shape[1]} and {theirs.shape[1]} numbers are not of one extractor")
  for rows, count, name in ((ours, least[0], "real"), (theirs, least[1], "generated")):
    if len(rows) < count:
      raise ValueError(f"{len(rows)} {name} samples are too few: with these settings it takes {count} or more")
  return ours, theirs
