"""The training picture that is nearest to each drawn one, which shows a person what a model copies."""

from pathlib import Path

import numpy as np

from common.data.images import to_uint8
from common.errors import ConfigError
from common.evaluation.pictures import nearest_to, open_reference, real, without_margin
from experiments.loading import TrainedRun, open_data


class TrainingPictures:
  """The pictures that a run was trained on, without flips or other changes; those of a crop are the middle windows.

  Args:
    run: a model of pictures.
    workdir: where it is, for errors.
    data_dir: directory of the data set; empty for that of training, or the usual places.

  Raises:
    ConfigError: the data set cannot be opened, is not the one of training, or has points in the place of pictures.
  """

  def __init__(self, run: TrainedRun, workdir: Path | str, data_dir: str = ""):
    if run.spec.kind == "points":
      raise ConfigError(f"{workdir} draws points, which copy no picture; leave --nearest out")
    data, _ = open_data(run, workdir, data_dir)
    reference = open_reference(data)
    self._range, self._shape = run.spec.pixel_range, reference.image_shape
    self._pictures = real(reference, "train").images

  def nearest(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the training picture whose pixels are nearest to each of ``images`` [N, H, W, C] in the model's range.

    Returns:
      the training pictures in that range, float32 [N, H, W, C], with ``images`` at their sides where padding made
      these larger, and the root mean square difference of pixels, float64 [N], where white is 1.
    """
    drawn = without_margin(to_uint8(images, self._range), self._shape)
    chosen, distance = nearest_to(drawn, self._pictures)
    low, high = self._range
    found = low + (high - low) * self._pictures[chosen].astype(np.float32) / 255
    out = np.array(images, np.float32)
    without_margin(out, self._shape)[:] = found
    return out, distance
