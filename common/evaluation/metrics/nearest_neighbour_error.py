"""The label error of classifying real images by their nearest generated image.

Nearness is measured between features; the extractor ``pixels`` reproduces the protocol of DCGAN's table.
"""

import dataclasses
from typing import ClassVar

from common.evaluation.metrics.distances import nearest
from common.evaluation.metrics.labels import labels_of, share
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class NearestNeighbourError:
  """The label error on real images of a nearest-neighbour classifier whose training set are generated images.

  It is for conditional models, as in Radford et al. 2016 (arXiv:1511.06434, Table 3). Its floor classifies each real
  image by the nearest other one. More generated images make it smaller, so that only equal numbers compare. The
  standard error covers the real images, for fixed generated ones.
  """

  needs: ClassVar[frozenset[Need]] = frozenset({"features", "labels"})
  better: ClassVar[dict[str, str]] = {"nearest_neighbour_error": "min", "nearest_neighbour_error_real": ""}

  def least(self) -> tuple[int, int]:
    return 2, 1

  def __call__(self, real: SampleSet, fake: SampleSet, seed: int) -> dict[str, Score]:
    truth, drawn = labels_of(real, "real"), labels_of(fake, "generated")
    by_fake = nearest(real.features, fake.features, 1)[1][:, 0]
    by_real = nearest(real.features, real.features, 1, exclude_self=True)[1][:, 0]
    return {
      "nearest_neighbour_error": share(drawn[by_fake] != truth, f"real pictures, by {len(fake)} generated"),
      "nearest_neighbour_error_real": share(truth[by_real] != truth, f"real pictures, by the {len(real) - 1} others"),
    }
