"""Whether images that were sampled for a class show that class, and are as good and diverse as its real images."""

import dataclasses
from typing import ClassVar

import numpy as np

from common.evaluation.metrics.frechet import FrechetDistance
from common.evaluation.metrics.jackknife import check_groups
from common.evaluation.metrics.labels import labels_of, logits_of, share
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class IntraFrechet:
  """The mean over classes of the Frechet distance within a class (Miyato & Koyama 2018, arXiv:1802.05637).

  Fewer samples make a distance larger, and a class has only some of them: the method says how many.

  Attributes:
    groups: groups of the jackknife within each class, 2 or more.
  """

  groups: int = 10
  needs: ClassVar[frozenset[Need]] = frozenset({"features", "labels"})
  better: ClassVar[dict[str, str]] = {"intra_frechet": "min"}

  def __post_init__(self) -> None:
    check_groups(self.groups)

  def least(self) -> tuple[int, int]:
    return FrechetDistance(groups=self.groups).least()

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    distance = FrechetDistance(groups=self.groups)
    sides = {"real": (real, labels_of(real, "real")), "generated": (fake, labels_of(fake, "generated"))}
    fewest, found = min(len(real), len(fake)), []
    classes = np.union1d(*(labels for _, labels in sides.values()))
    for label in classes:
      parts = [_of_class(*sides[whose], label, whose, distance.least()[0]) for whose in sides]
      fewest = min(fewest, *(len(part) for part in parts))
      found.append(distance(parts[0], parts[1], seed)["frechet"])
    error = np.sqrt(sum(score.standard_error**2 for score in found)) / len(found)
    method = f"jackknife over {self.groups} groups within each of {len(classes)} classes of {fewest} or more"
    value, freedom = float(np.mean([score.value for score in found])), len(found) * (self.groups - 1)
    return {"intra_frechet": Score(value, float(error), method, range=(0.0, np.inf), freedom=freedom)}


def _of_class(samples: SampleSet, labels: np.ndarray, label: int, whose: str, least: int) -> SampleSet:
  rows = np.flatnonzero(labels == label)
  if len(rows) < least:
    raise ValueError(f"{len(rows)} {whose} pictures of class {label} are fewer than {least}; take more or fewer groups")
  return SampleSet(samples.images[rows], samples.features[rows])


@dataclasses.dataclass(frozen=True)
class LabelAgreement:
  """The share of generated images that the classifier assigns to the class for which they were sampled.

  "label_agreement_real" is the classifier's own accuracy. A model with a single good image per class agrees too.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"logits", "labels"})
  better: ClassVar[dict[str, str]] = {"label_agreement": "max", "label_agreement_real": ""}

  def least(self) -> tuple[int, int]:
    return 1, 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    scores = {}
    for end, samples, whose in (("", fake, "generated"), ("_real", real, "real")):
      labels, logits = labels_of(samples, whose), logits_of(samples, whose)
      if not len(labels) or np.max(labels) >= logits.shape[1]:
        raise ValueError(
          f"{len(labels)} {whose} labels up to {np.max(labels, initial=-1)} are not of a classifier of "
          f"{logits.shape[1]} classes; take the one of this data set"
        )
      scores[f"label_agreement{end}"] = share(np.argmax(logits, axis=1) == labels, f"{whose} pictures")
    return scores
