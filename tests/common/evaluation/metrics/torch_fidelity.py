"""What torch-fidelity 0.4.0 (with torch 2.13.0, numpy 2.4.6) found of features that come from seeds.

Input 1 is the generated set, as there. To make the figures again, give `features()` as tensors to
fid_features_to_statistics and fid_statistics_to_metric, to kid_features_to_metric (100 subsets), to
isc_features_to_metric (5 times the generated features, 10 splits) and to prc_features_to_metric (neighborhood 3), with
seed 2020 and all else by default.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
  name: str
  real: tuple[int, int, float, float]  # seed, number, scale, shift
  fake: tuple[int, int, float, float]
  subset_size: int
  frechet: float
  kid: tuple[float, float]  # mean and standard deviation
  inception_score: tuple[float, float]
  precision: float
  recall: float

  def features(self):
    """Real and generated, float32 [N, 64]."""
    return [_features(*self.real), _features(*self.fake)]


def _features(seed, count, scale, shift):
  normal = np.random.Generator(np.random.Philox(seed)).normal(size=(count, 64))
  return np.maximum(scale * normal + shift, 0).astype(np.float32)


CASES = (
  Case(
    "2048 of each",
    real=(1, 2048, 1.0, 0.0),
    fake=(2, 2048, 1.1, 0.05),
    subset_size=250,
    frechet=1.0326474099300853,
    kid=(0.02361952543258667, 0.006106884599374578),
    inception_score=(24.414486713088895, 1.039066102414887),
    precision=0.32421875,
    recall=0.8818359375,
  ),
  Case(
    "fewer than dimensions",
    real=(3, 48, 1.0, 0.0),
    fake=(4, 40, 1.2, 0.1),
    subset_size=30,
    frechet=23.218850100110807,
    kid=(0.0985903811454773, 0.026997796823526255),
    inception_score=(3.512067763451647, 0.33587507351039614),
    precision=0.15000000596046448,
    recall=0.9791666865348816,
  ),
)
