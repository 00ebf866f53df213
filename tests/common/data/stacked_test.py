"""Three images as one: which, with which label, and that it never changes."""

import numpy as np
import pytest

from common.data.digits import digits
from common.data.procedural import Blobs, gaussians
from common.data.stacked import SIZES, stacked
from common.errors import ConfigError


def test_channels_are_images_of_the_set_and_the_label_names_all_three():
  source, base = stacked("stacked_digits", digits()), digits()
  rows, own = source.read("test", np.arange(50)), base.read("test", np.arange(300))
  assert source.native_shape == (8, 8, 3) and source.num_classes == 1000 and source.sizes == SIZES
  known = {image.tobytes(): label for image, label in zip(own["image"], own["label"], strict=True)}
  for image, label in zip(rows["image"], rows["label"], strict=True):
    found = [known[np.ascontiguousarray(image[..., [channel]]).tobytes()] for channel in range(3)]
    assert label == 100 * found[0] + 10 * found[1] + found[2]
  assert not np.array_equal(*(source.read(split, np.arange(50))["image"] for split in ("train", "validation")))


def test_all_modes_are_there_about_equally_often():
  labels = stacked("stacked_digits", digits()).read("test", np.arange(SIZES["test"]))["label"]
  counts = np.bincount(labels, minlength=1000)
  assert counts.min() > 0 and counts.max() < 80


@pytest.mark.parametrize("base", [Blobs("blobs", (8, 8, 3), 10), gaussians()])
def test_other_sets_cannot_be_stacked(base):
  with pytest.raises(ConfigError, match="only sets of grey images with labels can be stacked"):
    stacked("stacked_x", base)
