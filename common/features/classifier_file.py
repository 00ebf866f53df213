"""A trained classifier as one safetensors file, frozen: arrays, and what rebuilds the network in the file's metadata.

Those of common/features/weights/ come with the project, so that scores compare between machines.
"""

import dataclasses
import json
from pathlib import Path

import flax.linen as nn
import numpy as np
from flax import traverse_util

from common.algorithm import PyTree, Spec
from common.build import ConfigError, build
from common.features.classifier import NETWORKS

WEIGHTS = Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
  """A network, its arrays (the averaged parameters), the data that it was trained on, and how good it is there."""

  network: nn.Module
  variables: PyTree
  spec: Spec
  accuracy: float


def shipped() -> list[str]:
  """Names of the classifiers that come with the project."""
  return sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))


def find(name: str) -> Path | None:
  """The file of a shipped name, or of a path; None where there is none."""
  path = Path(name)
  if path.suffix == ".safetensors":
    return path if path.is_file() else None
  return WEIGHTS / f"{name}.safetensors" if name in shipped() else None


def save(path: Path, variables: PyTree, model: dict[str, object], spec: Spec, accuracy: float) -> None:
  """Writes a classifier.

  Args:
    path: ends in .safetensors; its stem names the classifier.
    variables: "params" and other collections.
    model: config.model that built it.
    spec: of its data.
    accuracy: on the test split, in [0, 1]; for a reader.
  """
  from safetensors.numpy import save as to_bytes

  arrays = {name: np.asarray(x) for name, x in traverse_util.flatten_dict(variables, sep="/").items()}
  about = {"model": model, "spec": dataclasses.asdict(spec), "accuracy": accuracy}
  path.write_bytes(to_bytes(arrays, metadata={"classifier": json.dumps(about)}))


def load(path: Path) -> TrainedClassifier:
  """Reads what `save` wrote.

  Raises:
    ConfigError: a file that is damaged, or of something else.
  """
  from safetensors import SafetensorError, safe_open

  try:
    with safe_open(path, framework="numpy") as file:
      about = json.loads((file.metadata() or {})["classifier"])
      arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
  except (SafetensorError, OSError, KeyError, ValueError) as error:
    raise ConfigError(f"{path} is not a classifier of this project ({error!r}); write one anew") from error
  spec = Spec.from_json(about["spec"])
  network = build(NETWORKS, about["model"], "model", num_classes=spec.num_classes, bn_axis_name=None, dtype="float32")
  return TrainedClassifier(network, traverse_util.unflatten_dict(arrays, sep="/"), spec, about["accuracy"])
