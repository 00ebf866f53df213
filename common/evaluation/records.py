"""Records of scores: each is one JSON line that says what was measured, how, and of what."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.evaluation.metrics.score import Score
from common.training.workdir import versions

Record = dict[str, Any]  # a ScoreRecord as JSON
FILE = "evaluations.jsonl"  # in a workdir
PER_IMAGE = "per_image"  # in a workdir: a file for each metric with a value for each image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
  """How a score was measured: two scores are ranked only if their protocols agree.

  A field that does not apply is None, and a record omits it.
  """

  dataset: str  # config.data.name of the real images
  split: str  # which of them, as in "train[:90%]"
  image_shape: list[int]  # at which both sides are compared, or which the model sees
  resize: str | None = None  # how the real images got that shape
  quantization: str | None = None  # of both sides: "uint8, rounded", "none" (points), or the coding of lossy files
  weights: str | None = None  # "ema", "raw" or "files"
  batch_norm: str | None = None  # whose statistics BatchNorm used
  truncation: float | str | None = None  # the largest absolute value of latents, or "none"
  sampler: str | None = None  # where latents came from
  sample_seed: int | None = None  # seed of the latents, if it is not that of the record
  extractor: str | None = None  # name of the feature extractor, with a hash of its weights
  extractor_resize: str | None = None  # how images are resized for it
  extractor_accuracy: float | None = None  # of a classifier on its own test images
  extractor_accuracy_real: float | str | None = None  # of a classifier on these real images, or why it is unknown
  n_real: int  # number of real images
  real_sha: str  # the first eight digits of a hash of their pixels and labels
  n_fake: int | None = None  # number of generated images
  binarize: str | None = None  # config.data.binarize, for likelihoods
  dequantize: bool | None = None  # config.data.dequantize, for likelihoods
  likelihood: str | None = None  # name of the model's likelihood
  no_density: str | None = None  # why that likelihood is not a log-density of the images
  given: str | None = None  # "label" if densities are p(x|label); other rows likewise
  degradation: Sequence[Mapping[str, Any]] | None = None  # config.data.degradation, of what pictures are restored from
  files: Mapping[str, Any] | None = None  # formats, conversions and omissions of image files

  def to_json(self) -> dict[str, Any]:
    """Returns the fields that apply."""
    return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRecord:
  """One score with everything that a reader needs to compare it."""

  metric: str  # full name of the score
  score: Score | list[float]  # a value with its error (NaN if unknown), or an array of figures
  protocol: Mapping[str, Any]  # everything that must be equal before two scores are ranked
  source: Mapping[str, Any]  # what was scored: a run at a step, files, or real images
  seed: int  # of samples, subsets and draws
  better: str = ""  # "min", "max", or "" if neither end is better
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # those of the metric

  @property
  def value(self) -> Any:
    """The number, or the array as a list."""
    return self.score.value if isinstance(self.score, Score) else self.score

  @property
  def standard_error(self) -> float:
    """The standard error of the value; NaN if it is unknown."""
    return self.score.standard_error if isinstance(self.score, Score) else math.nan

  def to_json(self) -> Record:
    """Returns the record as it is printed and stored."""
    figure = self.score if isinstance(self.score, Score) else None
    has_error = figure is not None and math.isfinite(figure.standard_error)
    return {
      "metric": self.metric,
      "value": self.value,
      "standard_error": self.standard_error if has_error else None,
      "interval": list(figure.interval) if figure and has_error else None,
      "interval_method": figure.method if figure else "",
      **(figure.about if figure else {}),
      "better": self.better,
      "settings": dict(self.settings),
      "protocol": dict(self.protocol),
      "source": dict(self.source),
      "seed": self.seed,
      "commit": versions()["commit"],
    }


def append(workdir: Path, line: Record) -> None:
  """Adds a record to the workdir's evaluations.jsonl."""
  files.append(workdir / FILE, json.dumps(line))


def keep_per_image(workdir: Path, metric: str, step: int, values: Mapping[str, np.ndarray], about: Record) -> None:
  """Writes a value for each image, [N], for paired differences with other models.

  ``about`` has the protocol, settings and seed; files whose names agree up to the step are comparable.
  """
  directory = workdir / PER_IMAGE
  directory.mkdir(exist_ok=True)
  text = json.dumps(about, sort_keys=True)
  kind = hashlib.sha256(text.encode()).hexdigest()[:8]
  arrays: dict[str, Any] = {"about": np.array(text), **values}
  with files.replacing(directory / f"{metric}-{kind}-{step:08d}.npz") as file:
    np.savez(file, **arrays)
