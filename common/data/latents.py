"""The latents of each split's images, as a data set: one file for each checkpoint of the model that computed them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.data.source import ArraySource, Rows
from common.errors import ConfigError

NAME = "latents"  # config.data.name is "latents:STEP-HASH", with a hash of the model's weights
SMALLEST = 1e-6  # scale of a latent that does not vary
SPLITS = ("train", "validation", "test")


def is_latents(name: str) -> bool:
  """Whether ``name`` is that of a data set of latents, complete or not."""
  return name.partition(":")[0] == NAME


def file_of(workdir: Path, name: str) -> Path:
  """The file of the data set ``name`` in the workdir of the model's run."""
  return workdir / NAME / f"{name.partition(':')[2]}.npz"


def save_latents(file: Path, splits: Mapping[str, Rows], num_classes: int, *, standardise: bool) -> None:
  """Atomically writes the latents of each split, with the labels and captions of their images.

  Args:
    file: as `file_of` names it.
    splits: {one of SPLITS: rows}; "image" has the latents, float32 [N, H, W, C], where vectors are [N, 1, 1, Z];
      "label" int32 [N] and "text" [N] are there if the images have them.
    num_classes: labels are below this number; 0 without labels.
    standardise: whether each latent is written in units of mean 0 and deviation 1 over the training split, as
      (z - shift) / scale. The numbers of codes have no units.
  """
  train = splits["train"]["image"]
  shift = train.mean(axis=0) if standardise else np.zeros(train.shape[1:])
  scale = np.maximum(train.std(axis=0), SMALLEST) if standardise else np.ones(train.shape[1:])
  arrays: dict[str, Any] = {"num_classes": np.int32(num_classes)}
  for split, rows in splits.items():
    arrays[split] = np.float32((rows["image"] - shift) / scale)
    arrays |= {f"{split} {name}": np.asarray(rows[name]) for name in ("label", "text") if name in rows}
  file.parent.mkdir(exist_ok=True)
  with files.replacing(file) as opened:
    np.savez(opened, shift=np.float32(shift), scale=np.float32(scale), **arrays)


def units(file: Path) -> tuple[np.ndarray, np.ndarray]:
  """Shift and scale of the latents, float32 [Z] each; z = shift + scale * the stored values."""
  with np.load(file, allow_pickle=False) as archive:
    return archive["shift"].reshape(-1), archive["scale"].reshape(-1)


def latents(directory: str, name: str) -> ArraySource:
  """Opens what `save_latents` wrote in a run's workdir, as points.

  Raises:
    ConfigError: the file is missing.
  """
  file = file_of(Path(directory), name)
  if not file.is_file():
    raise ConfigError(
      f'config.data.name="{name}": {file} is missing; config.data.dir must name the run of a VAE, where the command '
      "that trained the density writes its latents again"
    )
  with np.load(file, allow_pickle=False) as archive:
    num_classes = int(archive["num_classes"]) if "num_classes" in archive else 0
    splits: dict[str, Rows] = {}
    for split in SPLITS:
      splits[split] = {"image": archive[split], "label": np.zeros(len(archive[split]), np.int32)}
      splits[split] |= {row: archive[f"{split} {row}"] for row in ("label", "text") if f"{split} {row}" in archive}
  sizes = {split: len(rows["image"]) for split, rows in splits.items()}
  return ArraySource(name, splits["train"]["image"].shape[1:], num_classes, sizes, splits.__getitem__, "points")
