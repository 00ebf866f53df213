"""A config.data for the tests of this folder."""

from typing import Any

import ml_collections


def data_config(**changes: Any) -> ml_collections.ConfigDict:
  """The section config.data of digits, with changes."""
  config = ml_collections.ConfigDict({
    "name": "digits", "dir": "", "train_split": "train", "validation_split": "validation", "test_split": "test",
    "image_size": 0, "image_width": 0, "channels": 0, "resize": "pad", "download": False, "binarize": "none",
    "pixel_range": (0.0, 1.0), "flip": False, "dequantize": False, "resident_mb": 100, "text": {"name": "none"},
    "crop": 0, "rotate": False, "degradation": (), "quantise": True,
  }).lock()  # fmt: skip
  with config.unlocked():
    config.update(changes)
  return config
