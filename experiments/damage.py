"""Known damage to pictures, and how scores answer to it, as verdicts, a table and a plot."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import files
from common.errors import ConfigError

Change = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def blur(images: np.ndarray, labels: np.ndarray, sigma: float, generator: np.random.Generator) -> Any:
  """Gaussian blur of standard deviation ``sigma`` pixels, borders repeated."""
  if not sigma:
    return images, labels
  reach = math.ceil(3 * sigma)
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  kernel = (kernel / kernel.sum()).astype(np.float32)
  x = images.astype(np.float32)
  for axis in (1, 2):
    padded = np.pad(x, [(reach, reach) if i == axis else (0, 0) for i in range(4)], mode="edge")
    size = x.shape[axis]
    x = sum(weight * padded.take(range(i, i + size), axis=axis) for i, weight in enumerate(kernel))
  return np.rint(x).astype(np.uint8), labels


def noise(images: np.ndarray, labels: np.ndarray, sigma: float, generator: np.random.Generator) -> Any:
  """Gaussian noise of standard deviation ``sigma`` of the range, clipped."""
  noisy = images + 255.0 * sigma * generator.standard_normal(images.shape)
  return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels


def drop_classes(images: np.ndarray, labels: np.ndarray, count: float, generator: np.random.Generator) -> Any:
  """Pictures of the first ``count`` classes replaced by others, drawn from the rest."""
  left = np.flatnonzero(labels >= count)
  if not len(left):
    raise ConfigError(f"--num_samples={len(labels)}: no picture is left without the first {count:g} classes; take more")
  chosen = np.where(labels >= count, np.arange(len(labels)), left[generator.integers(0, len(left), len(labels))])
  return images[chosen], labels[chosen]


STRENGTHS: dict[str, tuple[float, ...]] = {
  "blur": (0.0, 0.5, 1.0, 1.5, 2.0),
  "noise": (0.0, 0.05, 0.1, 0.2, 0.4),
  "dropped classes": (0, 2, 4, 6, 8),
  "copies of the reference": (0.0, 0.25, 0.5, 0.75, 1.0),
}
UNITS = {
  "blur": "sigma, pixels",
  "noise": "sigma, of the range",
  "dropped classes": "of 10",
  "copies of the reference": "share",
}
CHANGES: dict[str, Change] = {"blur": blur, "noise": noise, "dropped classes": drop_classes}


def verdicts(curves: Mapping[str, Any], better: Mapping[str, str]) -> dict[str, dict[str, str]]:
  """{score: {change: "worse", "better", "same" or "mixed"}}: how the score moves as the strength grows.

  A step that is smaller than two of its standard errors counts for neither side.
  """
  found: dict[str, dict[str, str]] = {}
  for name, end in better.items():
    sign = {"min": 1.0, "max": -1.0, "": 1.0}[end]
    for change, points in curves.items():
      if change == "number":
        continue
      known = [point["scores"][name] for point in points if point["scores"][name] is not None]
      values, errors = [sign * value for value, _ in known], [error for _, error in known]
      steps = [
        (b - a) if abs(b - a) > 2 * math.hypot(e, f) else 0.0
        for a, b, e, f in zip(values, values[1:], errors, errors[1:], strict=False)
      ]
      up, down = any(step > 0 for step in steps), any(step < 0 for step in steps)
      if len(known) < 2:
        found.setdefault(name, {})[change] = "not defined"
        continue
      word = "mixed" if up and down else "worse" if up else "better" if down else "same"
      found.setdefault(name, {})[change] = {"worse": "rises", "better": "falls"}.get(word, word) if not end else word
  return found


def document(result: Mapping[str, Any]) -> str:
  """Markdown: a table a kind of damage, one of verdicts, and the bias curve."""
  lines = [
    f"{result['dataset']}, {result['n_fake']:,} training pictures against {result['n_real']:,} test pictures, "
    f"extractor {result['extractor']}, seed {result['seed']}; value (standard error).",
    "",
  ]
  for change, points in result["curves"].items():
    title = "n on each side, undamaged" if change == "number" else f"{change} ({UNITS[change]})"
    lines += [f"| {title} | " + " | ".join(f"{point['strength']:g}" for point in points) + " |"]
    lines += ["|---" * (len(points) + 1) + "|"]
    for name in result["better"]:
      known = [point["scores"][name] for point in points]
      cells = ["-" if score is None else f"{score[0]:.4g} ({score[1]:.1g})" for score in known]
      lines.append(f"| {name.partition('@')[0]} | " + " | ".join(cells) + " |")
    lines.append("")
  changes = list(STRENGTHS)
  lines += ["| as the damage grows, the score gets | " + " | ".join(changes) + " |", "|---" * (len(changes) + 1) + "|"]
  for name, answers in result["verdicts"].items():
    lines.append(f"| {name.partition('@')[0]} | " + " | ".join(answers[change] for change in changes) + " |")
  return "\n".join(lines) + "\n"


def draw(result: Mapping[str, Any], path: Path) -> None:
  """A column a kind of damage and one of numbers, a row a score."""
  import matplotlib as mpl

  mpl.use("Agg")
  import matplotlib.pyplot as plt

  names = [name for name in result["better"] if not name.endswith("_real")]  # no damage reaches these
  changes = list(result["curves"])
  figure, axes = plt.subplots(
    len(names), len(changes), figsize=(2.2 * len(changes), 1.5 * len(names)), squeeze=False, layout="constrained"
  )
  for row, name in enumerate(names):
    for column, change in enumerate(changes):
      axis, points = axes[row][column], result["curves"][change]
      known = [(point["strength"], *point["scores"][name]) for point in points if point["scores"][name] is not None]
      if known:
        strengths, values, errors = zip(*known, strict=True)
        axis.errorbar(strengths, values, yerr=[2 * error for error in errors], marker=".")
      axis.tick_params(labelsize=6)
      if row == 0:
        axis.set_title(change, fontsize=8)
      if column == 0:
        axis.set_ylabel(name.partition("@")[0].replace("_", "\n"), fontsize=7)
  with files.replacing(path) as file:
    figure.savefig(file, dpi=60, format="png")
  plt.close(figure)
