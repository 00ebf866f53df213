"""How well the nearest generated picture names the class of a real one.

The nearest picture is that of the nearest feature; with the extractor ``pixels`` it is as in DCGAN's table.
"""

import dataclasses
from typing import ClassVar

from common.evaluation.metrics.distances import nearest
from common.evaluation.metrics.labels import labels_of, share
from common.evaluation.metrics.score import Need, SampleSet, Score


@dataclasses.dataclass(frozen=True)
class NearestNeighbourError:
  """The label error on real pictures of a nearest-neighbour classifier that has seen generated ones only.

  Of a conditional model, as in Radford et al. 2016 (arXiv:1511.06434, Table 3). Its floor stands beside it: each real
  picture by the nearest of all others. More generated pictures make it smaller, so that equal numbers compare. The
  standard error is over the real pictures, with the generated ones fixed.
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
