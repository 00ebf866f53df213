"""The inception score, exp E KL(p(y|x) || p(y)), of a classifier's logits (Salimans et al. 2016, arXiv:1606.03498).

It uses no real images. Scores with a classifier other than InceptionV3 compare only with each other.
"""

import dataclasses
import itertools
from typing import ClassVar

import numpy as np
from scipy import special

from common.evaluation.metrics.feature_sets import check_features, check_mode
from common.evaluation.metrics.score import Need, SampleSet, Score

TORCH_FIDELITY_SEED = 2020


def divergences(logits: np.ndarray) -> np.ndarray:
  """Returns KL(p(y|x) || p(y)) in nats for the images' own p(y), [N, K] -> [N]; the score is exp of its mean."""
  log_p = special.log_softmax(logits.astype(np.float64), axis=1)
  p = np.exp(log_p)
  # A class with probability 0 everywhere adds nothing; its logarithm must only be finite.
  log_marginal = np.log(np.maximum(np.mean(p, axis=0), np.finfo(np.float64).tiny))
  return np.sum(p * (log_p - log_marginal), axis=1)


def split_scores(logits: np.ndarray, splits: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the scores of ``splits`` parts of the images in ``order``, and the divergences within these parts [N]."""
  bounds = [i * len(logits) // splits for i in range(splits + 1)]
  parts = [divergences(logits[order[start:stop]]) for start, stop in itertools.pairwise(bounds)]
  return np.array([np.exp(np.mean(part)) for part in parts]), np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class InceptionScore:
  """The mean score of ``splits`` parts of the generated images; small parts make it too low.

  Attributes:
    mode: "exact" derives the error from the spread of the divergences (delta method; the estimate of the marginal adds
      nothing to first order). "torch_fidelity" takes that package's parts and the error that it prints: the standard
      deviation over parts, with n in its denominator.
    splits: number of parts; 1 to take all images together.
  """

  mode: str = "exact"
  splits: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"logits"})
  better: ClassVar[dict[str, str]] = {"inception_score": "max"}

  def __post_init__(self) -> None:
    check_mode(self.mode)
    if self.splits < 1:
      raise ValueError(f"splits={self.splits} must be 1 or more")

  def least(self) -> tuple[int, int]:
    return 0, max(2, self.splits)

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    if fake.logits is None:
      raise ValueError("the generated pictures have no logits; take the features of a classifier")
    logits = check_features(fake.logits, "logits")
    if len(logits) < self.least()[1]:
      raise ValueError(f"{len(logits)} logits are fewer than {self.least()[1]}; take more samples or fewer splits")
    if self.mode == "torch_fidelity":
      order = np.random.RandomState(TORCH_FIDELITY_SEED).permutation(len(logits))
      scores, _ = split_scores(logits, self.splits, order)
      error, method = np.std(scores), f"standard deviation of {self.splits} splits, not of their mean"
    else:
      order = np.random.Generator(np.random.Philox(seed)).permutation(len(logits))
      scores, spread = split_scores(logits, self.splits, order)
      error = np.mean(scores) * np.std(spread, ddof=1) / np.sqrt(len(logits))
      method = "delta method over the pictures"
    return {"inception_score": Score(float(np.mean(scores)), float(error), method, range=(1.0, logits.shape[1]))}
