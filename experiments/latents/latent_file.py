"""The .npz of latents that experiments.encode writes and experiments.sample reads."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common import files
from common.errors import ConfigError
from common.evaluation.features.extractor import sha8
from common.training.weights import named
from experiments.loading import TrainedRun


def write(
  path: Path, run: TrainedRun, names: Sequence[str], latents: Mapping[str, np.ndarray], labels: np.ndarray | None
) -> None:
  """Writes latents [N, ...] with the names of their pictures, their labels, and which weights they belong to."""
  arrays = {**latents, "names": np.asarray(names), "weights": np.asarray(sha8(named(run.state)))}
  if labels is not None:
    arrays["labels"] = labels
  with files.replacing(path) as file:
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read(path: Path, run: TrainedRun) -> tuple[dict[str, np.ndarray], bool]:
  """Returns the arrays of a file, and whether they belong to the weights of the run.

  Raises:
    ConfigError: it cannot be read as a .npz.
  """
  wrong = "there is no such file" if not path.exists() else "it is no .npz"
  try:
    if zipfile.is_zipfile(path):
      with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
      return arrays, str(arrays.get("weights", "")) == sha8(named(run.state))
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    wrong = str(error)
  raise ConfigError(f"--latents={path} cannot be read ({wrong}); write it by experiments.encode")
