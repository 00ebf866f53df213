"""The inception score, exp E KL(p(y|x) || p(y)), of a classifier's logits (Salimans et al. 2016, arXiv:1606.03498).

It sees no real pictures, and with another classifier than InceptionV3 its figures compare with their like only.
"""

import dataclasses
import itertools
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.feature_sets import check_features, check_mode
from common.evaluation.metrics.score import Need, SampleSet, Score

TORCH_FIDELITY_SEED = 2020


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Log-probabilities in float64, [N, K]."""
  shifted = logits.astype(np.float64) - np.max(logits, axis=1, keepdims=True)
  return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def divergences(logits: np.ndarray) -> np.ndarray:
  """KL(p(y|x) || p(y)) in nats with p(y) the mean over these pictures, [N, K] -> [N]; the score is exp of its mean."""
  log_p = log_softmax(logits)
  p = np.exp(log_p)
  # A class that no picture has any of weighs nothing; its logarithm must only be finite.
  log_marginal = np.log(np.maximum(np.mean(p, axis=0), np.finfo(np.float64).tiny))
  return np.sum(p * (log_p - log_marginal), axis=1)


def split_scores(logits: np.ndarray, splits: int, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Scores of so many parts of the pictures in this order [splits], and the divergences within their parts [N]."""
  bounds = [i * len(logits) // splits for i in range(splits + 1)]
  parts = [divergences(logits[order[start:stop]]) for start, stop in itertools.pairwise(bounds)]
  return np.array([np.exp(np.mean(part)) for part in parts]), np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class InceptionScore:
  """The mean score of ``splits`` parts of the generated pictures; few pictures a part make it too low.

  Attributes:
    mode: "exact"; its error follows from the spread of the divergences (delta method; that the marginal is an estimate
      adds nothing in first order). "torch_fidelity" has the order of that package's parts, and for an error what it
      prints behind the score: the standard deviation over parts, n in its denominator.
    splits: parts; 1 to take all pictures together.
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
