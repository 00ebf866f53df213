"""A trained classifier as one safetensors file, frozen: arrays, and what rebuilds the network in the file's metadata.

Those of common/evaluation/features/weights/ come with the project, so that scores compare between machines.
"""

import dataclasses
import json
import math
from pathlib import Path

import flax.linen as nn
import numpy as np
from flax import traverse_util

from common import files
from common.build import build
from common.data.spec import Spec
from common.errors import ConfigError
from common.evaluation.features.classifier import NETWORKS
from common.types import PyTree

WEIGHTS = Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class TrainedClassifier:
  """A network, its arrays (the averaged parameters), the data set and spec that it was trained on, and its accuracy.

  The accuracy is that on the test split, at the size that it was trained on.
  """

  network: nn.Module
  variables: PyTree
  dataset: str
  spec: Spec
  accuracy: float


def shipped() -> dict[str, Path]:
  """{name: file} of the classifiers that come with the project."""
  return {file.stem: file for file in sorted(WEIGHTS.glob("*.safetensors"))}


def find(name: str, image_shape: tuple[int, ...]) -> Path | None:
  """The file of a path, of a data set or of a shipped name; None where there is none.

  Of those of one data set it is the one whose pictures are nearest in size to ``image_shape``, (height, width, ...).
  """
  path = Path(name).expanduser()
  if path.suffix == ".safetensors":
    return path if path.is_file() else None

  def ratio(file: Path) -> float:
    theirs = load(file).spec.image_shape
    return abs(math.log(image_shape[0] * image_shape[1] / (theirs[0] * theirs[1])))

  of_dataset = [file for file in shipped().values() if load(file).dataset == name]
  return min(of_dataset, key=ratio) if of_dataset else shipped().get(name)


def save(path: Path, variables: PyTree, model: dict[str, object], dataset: str, spec: Spec, accuracy: float) -> None:
  """Writes a classifier.

  Args:
    path: ends in .safetensors; its stem names the classifier.
    variables: "params" and other collections.
    model: config.model that built it.
    dataset: config.data.name of its data.
    spec: of its data.
    accuracy: on the test split, in [0, 1].
  """
  from safetensors.numpy import save as to_bytes

  arrays = {name: np.asarray(x) for name, x in traverse_util.flatten_dict(variables, sep="/").items()}
  about = {"model": model, "dataset": dataset, "spec": dataclasses.asdict(spec), "accuracy": accuracy}
  files.write(path, to_bytes(arrays, metadata={"classifier": json.dumps(about)}))


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
    raise ConfigError(
      f"{path} is not a classifier of this project ({error!r}); write it anew, by experiments.export_classifier"
    ) from error
  spec = Spec.from_json(about["spec"])
  network = build(NETWORKS, about["model"], "model", num_classes=spec.num_classes, bn_axis_name=None, dtype="float32")
  variables = traverse_util.unflatten_dict(arrays, sep="/")
  dataset = about.get("dataset", "")  # missing in older files
  return TrainedClassifier(network, variables, dataset, spec, about["accuracy"])
