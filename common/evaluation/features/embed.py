"""Runs an extractor on images on all devices, and caches the features of reference images."""

import contextlib
import hashlib
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common import files
from common.evaluation.features.extractor import Extractor, sha8
from common.evaluation.metrics.score import SampleSet
from common.parallel import compile_step, replicate, split_rows, to_host
from common.types import Array, PyTree


class Embedder:
  """Makes `SampleSet`s with an extractor; compiled once.

  Args:
    extractor: computes the features.
    mesh: the devices; each takes its share of a batch.
    batch_size: images per call; only speed and memory depend on it.
    cache: directory of cached features, or None.
  """

  def __init__(self, extractor: Extractor, mesh: Mesh, *, batch_size: int = 256, cache: Path | None = None):
    self._extractor, self._mesh, self._cache = extractor, mesh, cache
    self._batch_size = batch_size + -batch_size % mesh.size
    self._variables = replicate(extractor.variables, mesh)

    def apply(variables: PyTree, batch: Array) -> tuple[Array, Array | None]:
      # Accelerators would round factors to bfloat16 or TF32, and one name would stand for several sets of features.
      with jax.default_matmul_precision("highest"):
        return extractor.apply(variables, batch)

    self._apply = compile_step(
      lambda variables, _, batch: ((), apply(variables, batch)), mesh, "jit", batch_axis=0, donate=False
    )

  def __call__(self, images: np.ndarray, labels: np.ndarray | None = None) -> SampleSet:
    """Returns features, and logits if there are any, of uint8 [N, H, W, C] (points: float32 [N, 1, 1, 2]).

    Raises:
      ValueError: features that are not finite.
    """
    features, logits = self._embed(images)
    if not np.all(np.isfinite(features)):
      bad = np.sum(~np.isfinite(features).all(axis=1))
      raise ValueError(f"{bad} of {len(features)} features of {self._extractor.name} are not finite")
    return SampleSet(images, features, logits, labels)

  def reference(self, images: np.ndarray, labels: np.ndarray | None = None) -> SampleSet:
    """Returns the same from the cache if these images were embedded before, and otherwise adds them to it.

    The first batch is computed in any case: if it differs from the cached one, the extractor has changed.
    """
    if self._cache is None:
      return self(images, labels)
    weights = sha8(self._extractor.variables)
    content = hashlib.sha256(f"{self._extractor.name} {weights} {images.shape} {images.dtype}".encode())
    content.update(np.ascontiguousarray(images).data)
    file = self._cache / f"{self._extractor.name.replace(':', '-').replace('/', '-')}-{content.hexdigest()[:16]}.npz"
    try:
      with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
        features, logits = kept["features"], kept["logits"] if "logits" in kept.files else None
      again = self._embed(images[: self._batch_size])[0]
      if np.allclose(features[: len(again)], again, rtol=1e-3, atol=1e-3 * np.abs(again).max()):
        return SampleSet(images, features, logits, labels)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # missing or truncated
      pass
    embedded = self(images, labels)
    if jax.process_index() == 0:
      _write(file, embedded)
    return embedded

  def _embed(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    features, logits = [], []
    for start in range(0, len(images), self._batch_size):
      rows = np.minimum(np.arange(start, start + self._batch_size), len(images) - 1)  # one shape, one compilation
      batch = split_rows(np.asarray(self._extractor.prepare(images[rows])), self._mesh)
      out = to_host(self._apply(self._variables, (), batch)[1])
      count = len(images) - start
      features.append(out[0][:count])
      if out[1] is not None:
        logits.append(out[1][:count])
    return np.concatenate(features), np.concatenate(logits) if logits else None


def _write(file: Path, embedded: SampleSet) -> None:
  """Writes the file whole or not at all; a directory without write access costs only time."""
  arrays: dict[str, Any] = {"features": embedded.features, "logits": embedded.logits}
  with contextlib.suppress(OSError):
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(file) as out:
      np.savez(out, **{name: x for name, x in arrays.items() if x is not None})
